//! Why the registry could not do as asked. Absence is never an error here: it is `None` or `false`.

/// A failure of the registry. The text is for the operator, not for tenants.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another backend of this tenant has the name, or another mount the path, or another tenant this name.
    #[error("the name is taken")]
    Taken,
    /// Something stands on it: a backend has mounts.
    #[error("it is in use")]
    InUse,
    /// What it refers to is not there (any more).
    #[error("what it refers to does not exist")]
    Missing,
    /// A stated limit is reached.
    #[error("limit reached: {0}")]
    Limit(&'static str),
    /// What was given cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// The key is missing, unreadable or not the one that the database was sealed with.
    #[error("{0}")]
    Key(String),
    /// A row cannot be understood.
    #[error("the registry holds a damaged record: {0}")]
    Damaged(String),
    /// The database failed or cannot be reached.
    #[error("the registry's database failed: {0}")]
    Database(#[source] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the registry's schema cannot be brought up to date: {0}")]
    Schema(#[source] sqlx::migrate::MigrateError),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Error {
        match &error {
            sqlx::Error::Database(database) if database.is_unique_violation() => Error::Taken,
            sqlx::Error::Database(database) if database.is_foreign_key_violation() => Error::Missing,
            _ => Error::Database(error),
        }
    }
}
