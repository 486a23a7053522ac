//! The search for one byte, for the types that end with one.

/// How many bytes are compared at once. The comparison of a block has no early
/// exit, so that the compiler can make vector instructions of it.
const BLOCK: usize = 32;

/// The index of the first `byte` at or behind `from`.
pub(super) fn find_byte(bytes: &[u8], from: usize, byte: u8) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let (blocks, _) = rest.as_chunks::<BLOCK>();
    let clean = blocks
        .iter()
        .take_while(|block| !block.iter().fold(false, |hit, &b| hit | (b == byte)))
        .count()
        * BLOCK;
    let tail = rest.get(clean..)?;
    Some(from + clean + tail.iter().position(|&b| b == byte)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first hit is found wherever it lies, and none where there is none.
    #[test]
    fn first_hit_at_every_place() {
        let mut bytes = [b'a'; 150];
        for len in 0..bytes.len() {
            for from in [0, 1, 31, 32, 33, len] {
                assert_eq!(find_byte(&bytes[..len], from, b'x'), None);
            }
        }
        for hit in 0..bytes.len() {
            bytes[hit] = b'x';
            bytes[149] = b'x';
            for from in 0..=hit {
                assert_eq!(find_byte(&bytes, from, b'x'), Some(hit));
            }
            bytes[hit] = b'a';
        }
        assert_eq!(find_byte(&bytes, 151, b'a'), None);
    }
}
