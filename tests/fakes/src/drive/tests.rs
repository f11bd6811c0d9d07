//! The API through its requests, as far as a client relies on it.
