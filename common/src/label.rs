//! Closed sets of words: the labels of the metrics, so that every series stands at 0 from the
//! start.
//!
//! It imports nothing of this crate: the words of the wire and the metrics both stand on it.

/// A closed set of values of one label.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// All its values, in the order of [`Label::index`].
    const ALL: &'static [Self];
    /// The value as it is exposed.
    fn value(self) -> &'static str;
    /// Its place in [`Label::ALL`].
    fn index(self) -> usize;
}

/// A closed set as an enum, one row a word.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident $label:literal { $($(#[$variant_doc:meta])* $variant:ident = $value:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $crate::label::Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant,)*];
            fn value(self) -> &'static str {
                match self { $(Self::$variant => $value,)* }
            }
            fn index(self) -> usize {
                self as usize
            }
        }
    };
    // The same with a byte for each word, and a place for the bytes of later releases.
    ($(#[$doc:meta])* $name:ident $label:literal {
        $($(#[$variant_doc:meta])* $variant:ident = $byte:literal $value:literal,)*
    } else $other:ident = $other_value:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// One of another release, by its byte.
            $other(u8),
        }

        impl $name {
            /// All that this release knows, in the order of their bytes, which run from 1 without a
            /// gap.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant,)*];

            /// The one of that byte.
            pub const fn from_byte(byte: u8) -> Self {
                match byte { $($byte => Self::$variant,)* other => Self::$other(other) }
            }

            /// Its byte.
            pub const fn byte(self) -> u8 {
                match self { $(Self::$variant => $byte,)* Self::$other(byte) => byte }
            }

            /// Its word.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $value,)* Self::$other(_) => $other_value }
            }
        }

        impl $crate::label::Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant,)* Self::$other(0)];
            fn value(self) -> &'static str {
                self.name()
            }
            fn index(self) -> usize {
                match self { Self::$other(_) => Self::KNOWN.len(), known => usize::from(known.byte()) - 1 }
            }
        }
    };
}

pub(crate) use label;
