//! `setsockopt(2)` and `getsockopt(2)` on byte strings: the one door of the option table.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Sets an option to these bytes.
pub(crate) fn set(fd: BorrowedFd<'_>, level: i32, option: i32, bytes: &[u8]) -> io::Result<()> {
    let len = libc::socklen_t::try_from(bytes.len())
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the kernel reads at most `len` bytes from `bytes`, which outlives the call.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, bytes.as_ptr().cast(), len) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Reads an option into `bytes` (whose old contents the kernel may look at) and returns how many
/// bytes of it are the answer.
pub(crate) fn get(
    fd: BorrowedFd<'_>,
    level: i32,
    option: i32,
    bytes: &mut [u8],
) -> io::Result<usize> {
    let mut len = libc::socklen_t::try_from(bytes.len())
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the kernel writes at most `len` bytes to `bytes`, which is exclusively ours and
    // initialised, and the answer's length to `len`.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            level,
            option,
            bytes.as_mut_ptr().cast(),
            &mut len,
        )
    };
    if result == 0 {
        Ok((len as usize).min(bytes.len()))
    } else {
        Err(io::Error::last_os_error())
    }
}
