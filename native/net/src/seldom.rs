//! What most sockets do without, in memory of its own for as long as it is needed: an idle
//! socket pays a pointer for it.

/// Something that can be empty.
pub(crate) trait Vacant {
    /// With nothing in it.
    fn vacant() -> Self;

    /// Whether nothing would be lost with it.
    fn is_vacant(&self) -> bool;
}

/// A `T` that is there from [`make`](Seldom::make) on until it is vacant.
pub(crate) struct Seldom<T>(Option<Box<T>>);

impl<T: Vacant> Seldom<T> {
    pub(crate) const NONE: Self = Seldom(None);

    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }

    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    pub(crate) fn make(&mut self) -> &mut T {
        self.0.get_or_insert_with(|| Box::new(T::vacant()))
    }

    pub(crate) fn take(&mut self) -> Option<Box<T>> {
        self.0.take()
    }

    /// Gives the memory back if nothing is in it.
    pub(crate) fn tidy(&mut self) {
        self.0.take_if(|content| content.is_vacant());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Vacant for Vec<u8> {
        fn vacant() -> Self {
            Vec::new()
        }

        fn is_vacant(&self) -> bool {
            self.is_empty()
        }
    }

    #[test]
    fn only_what_is_vacant_is_given_back() {
        let mut seldom = Seldom::<Vec<u8>>::NONE;
        assert!(seldom.get().is_none());
        seldom.make().push(1);
        seldom.tidy();
        assert_eq!(seldom.get(), Some(&vec![1]));
        seldom.make().clear();
        seldom.tidy();
        assert!(seldom.get().is_none());
        assert_eq!(size_of_val(&seldom), size_of::<usize>());
    }
}
