"""Event files of cameras and public sets: one file a format, and the table of all of them."""
