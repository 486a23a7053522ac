//! Memory of the VM for large deliveries: read into by the kernel, handed to a process
//! without a copy.

use proto::reader::Block;
use rustler::OwnedBinary;
use rustler::sys::{ErlNifBinary, enif_alloc_binary};
use std::mem::MaybeUninit;

/// A binary that nobody but its holder knows yet.
pub(crate) struct VmBlock(OwnedBinary);

impl VmBlock {
    pub(crate) fn into_binary(self) -> OwnedBinary {
        self.0
    }
}

impl Block for VmBlock {
    fn allocate(len: usize) -> Option<Self> {
        // rustler's own constructor ends the VM where there is no memory.
        let mut binary = MaybeUninit::<ErlNifBinary>::uninit();
        // SAFETY: on success the VM fills the structure in.
        let made = unsafe { enif_alloc_binary(len, binary.as_mut_ptr()) };
        if made == 0 {
            return None;
        }
        // SAFETY: the VM has filled it in.
        let binary = unsafe { binary.assume_init() };
        // SAFETY: nobody else has this binary, and it is released by the OwnedBinary alone.
        Some(VmBlock(unsafe { OwnedBinary::from_raw(binary) }))
    }

    fn shrink(&mut self, len: usize) {
        self.0.realloc_or_copy(len);
    }
}

impl AsRef<[u8]> for VmBlock {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl AsMut<[u8]> for VmBlock {
    fn as_mut(&mut self) -> &mut [u8] {
        self.0.as_mut_slice()
    }
}
