//! Errors of a configuration.

use std::fmt;

/// Why the configuration is not valid: all problems, one on each line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid(pub Vec<Problem>);

impl std::error::Error for Invalid {}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// `file:line:column: key`, or the name of the variable or the flag.
    pub place: String,
    /// What is wrong there, and how to mend it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}
