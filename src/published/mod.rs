//! Whether what was published holds: the statement, the log and its witnesses, the rebuilders.
