//! Requests as a client sends them, and what the server makes of them.
