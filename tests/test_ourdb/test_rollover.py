"""Beginning the next record file."""

from __future__ import annotations

from pathlib import Path

import pytest

import ourdb


def test_a_finished_file_keeps_nothing_of_a_transaction_that_was_rolled_back(tmp_path: Path) -> None:
    """The rolled-back record reached further than the one that then filled the file."""
    with ourdb.new(tmp_path / "db", record_nr_max=40, keysize=6, file_size=500, incremental_mode=False) as db:
        with pytest.raises(ZeroDivisionError), db.transaction():
            db.set(id=0, data=b"z" * 488)
            db.set(id=1, data=b"next file")
            raise ZeroDivisionError
        db.set(id=0, data=b"z" * 487)
        db.set(id=0, data=b"")
        assert list(db.check()) == []
        assert db.get_history(0, 9) == [b"", b"z" * 487]
    assert (tmp_path / "db" / "0.db").stat().st_size == 500
