"""Programs that write what is committed or handed out: `python -m tools.FOLDER.FILE`."""
