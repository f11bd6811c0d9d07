//! A provider made of a script.
