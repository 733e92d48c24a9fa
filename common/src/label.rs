//! Closed sets of words: the labels of the metrics, so that every series stands at 0 from the start.
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
}

pub(crate) use label;
