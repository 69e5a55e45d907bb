//! The first page of swap space on a disk (`mkswap(8)`, version 1).
//!
//! ```text
//! 0     boot block, not looked at
//! 1024  version (1), last page, number of bad pages: u32 each
//! 1036  UUID and label, 16 bytes each
//! 1536  bad pages: u32 each
//! 4086  "SWAPSPACE2"
//! ```

use crate::FRAME_SIZE;

/// The signature at the page's end.
const SIGNATURE: &[u8; 10] = b"SWAPSPACE2";
const SIGNATURE_AT: usize = FRAME_SIZE - SIGNATURE.len();
const VERSION_AT: usize = 1024;
const LAST_PAGE_AT: usize = 1028;
const BAD_COUNT_AT: usize = 1032;
const BAD_AT: usize = 1536;
/// Bad pages that the header has room for.
const BAD_MAX: usize = (SIGNATURE_AT - BAD_AT) / 4;

/// Why a page is no header that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// It has no signature.
    NoSignature,
    /// Its version is another, or its numbers make no sense.
    Unsupported,
}

/// What a header says.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    page: &'a [u8; FRAME_SIZE],
    pages: u32,
}

fn word(page: &[u8; FRAME_SIZE], at: usize) -> u32 {
    u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]])
}

impl<'a> Header<'a> {
    /// Reads the first page of a device that has `device_pages` pages.
    ///
    /// # Errors
    /// The page is no header; or it claims more pages than the device has, none, or an impossible
    /// bad one.
    pub fn parse(page: &'a [u8; FRAME_SIZE], device_pages: u64) -> Result<Self, HeaderError> {
        if &page[SIGNATURE_AT..] != SIGNATURE {
            return Err(HeaderError::NoSignature);
        }
        let last = word(page, LAST_PAGE_AT);
        let bad = word(page, BAD_COUNT_AT) as usize;
        if word(page, VERSION_AT) != 1
            || last == 0
            || u64::from(last) >= device_pages
            || last == u32::MAX
            || bad > BAD_MAX
        {
            return Err(HeaderError::Unsupported);
        }
        let header = Header {
            page,
            pages: last + 1,
        };
        if header.bad_pages().any(|page| page == 0 || page > last) {
            return Err(HeaderError::Unsupported);
        }
        Ok(header)
    }

    /// Pages of the space, the header's included.
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// The pages that must not be used.
    pub fn bad_pages(&self) -> impl Iterator<Item = u32> {
        let page = self.page;
        (0..word(page, BAD_COUNT_AT) as usize).map(move |n| word(page, BAD_AT + n * 4))
    }
}

/// Makes `page` the header of a space of `pages` pages without bad ones.
pub fn format(page: &mut [u8; FRAME_SIZE], pages: u32) {
    page.fill(0);
    page[VERSION_AT..VERSION_AT + 4].copy_from_slice(&1u32.to_le_bytes());
    page[LAST_PAGE_AT..LAST_PAGE_AT + 4].copy_from_slice(&(pages - 1).to_le_bytes());
    page[SIGNATURE_AT..].copy_from_slice(SIGNATURE);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(pages: u32) -> [u8; FRAME_SIZE] {
        let mut page = [0xaa; FRAME_SIZE];
        format(&mut page, pages);
        page
    }

    #[test]
    fn formatted_page_is_a_header() {
        let page = formatted(100);
        let header = Header::parse(&page, 100).unwrap();
        assert_eq!((header.pages(), header.bad_pages().count()), (100, 0));
    }

    #[test]
    fn page_of_zeros_has_no_signature() {
        assert_eq!(
            Header::parse(&[0; FRAME_SIZE], 100).unwrap_err(),
            HeaderError::NoSignature
        );
    }

    #[test]
    fn header_that_claims_more_than_the_device_is_refused() {
        assert_eq!(
            Header::parse(&formatted(101), 100).unwrap_err(),
            HeaderError::Unsupported
        );
    }

    #[test]
    fn bad_pages_are_read_and_checked() {
        let mut page = formatted(100);
        page[BAD_COUNT_AT] = 2;
        page[BAD_AT] = 7;
        page[BAD_AT + 4] = 99;
        let header = Header::parse(&page, 100).unwrap();
        assert!(header.bad_pages().eq([7, 99]));
        page[BAD_AT + 4] = 100;
        assert_eq!(
            Header::parse(&page, 100).unwrap_err(),
            HeaderError::Unsupported
        );
        page[BAD_COUNT_AT + 3] = 0xff;
        assert_eq!(
            Header::parse(&page, 100).unwrap_err(),
            HeaderError::Unsupported
        );
    }
}
