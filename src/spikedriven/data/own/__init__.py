"""Data of the user's own, for every task: pictures, recordings, boxes and label maps in folders."""
