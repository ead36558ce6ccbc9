// node run.mjs CHECKOUT SITE ARGUMENTS...: pytest in Pyodide, with the checkout and a folder of packages mounted.
import { loadPyodide } from "pyodide";

const [checkout, site, ...options] = process.argv.slice(2);
const python = await loadPyodide();
python.mountNodeFS("/checkout", checkout);
python.mountNodeFS("/site", site);
python.globals.set("options", python.toPy(options));
const status = await python.runPythonAsync(`
import os, sys

sys.path[:0] = ["/checkout", "/site"]
sys.dont_write_bytecode = True
print(f"Python {sys.version.split()[0]} on {sys.platform}")
os.chdir("/checkout")
os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = "/tmp/hypothesis"
import pytest

# There is no thread for a watchdog, and what newer Pythons warn of in pytest is no concern of these tests.
settings = ["addopts=", "faulthandler_timeout=0", "filterwarnings=default"]
pytest.main(["-q", "-p", "no:cacheprovider", "-m", "not slow", "--basetemp=/tmp/pytest",
             *(f"--override-ini={one}" for one in settings), *options])
`);
process.exit(Number(status));
