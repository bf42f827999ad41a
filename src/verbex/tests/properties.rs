//! What holds for any JSON object.
