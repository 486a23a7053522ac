//! `{packet, line}`.
//!
//! **Shape** `[text delimiter]`, delivered with the delimiter.

use super::find::find_byte;
use super::{BadFrame, Found};

/// Finds the first line.
///
/// A line above `line_limit` is cut into pieces of exactly that size. A line
/// above `packet_size` is a bad frame; but when `packet_size` is not below
/// `line_limit`, cutting comes first and nothing is ever refused. (0 is no
/// limit, for both.)
///
/// No byte behind the smaller limit is looked at, so the answer does not depend
/// on how much of the stream has arrived.
pub(super) fn line(
    bytes: &[u8],
    offset: usize,
    delimiter: u8,
    packet_size: u32,
    line_limit: u32,
) -> Result<Found, BadFrame> {
    let refuse_above = limit(packet_size);
    let cut_at = limit(line_limit);
    let window = refuse_above.min(cut_at).min(bytes.len());
    let searchable = bytes.get(..window).unwrap_or(bytes);
    if let Some(end) = find_byte(searchable, offset, delimiter) {
        return Ok(Found::Line(end + 1));
    }
    if bytes.len() >= cut_at && cut_at <= refuse_above {
        return Ok(Found::Line(cut_at));
    }
    if bytes.len() > refuse_above {
        return Err(BadFrame);
    }
    Ok(Found::Nothing { searched: window })
}

fn limit(option: u32) -> usize {
    match option {
        0 => usize::MAX,
        bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
    }
}
