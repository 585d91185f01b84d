//! What all types have that are a text of a certain shape.

/// Lets a type around an `Arc<str>`, which has `parse` and `as_str`, be printed, and be kept as text.
macro_rules! text {
    ($name:ident, $error:ty) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(self.as_str())
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(written: String) -> Result<Self, $error> {
                Self::parse(&written)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0.to_string()
            }
        }
    };
}

pub(super) use text;
