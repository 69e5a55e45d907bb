//! Tests of the disk's requests.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use virtio_bindings::virtio_blk::VIRTIO_BLK_T_DISCARD;

use super::*;
use crate::lock;
use crate::virtio::block::Overlay;
use crate::virtio::testing::*;

const FLUSH: u64 = 1 << VIRTIO_BLK_F_FLUSH;
const OK: u8 = VIRTIO_BLK_S_OK as u8;
const IOERR: u8 = VIRTIO_BLK_S_IOERR as u8;
const UNSUPP: u8 = VIRTIO_BLK_S_UNSUPP as u8;
const SECTORS: u64 = 64;

const HEAD: u64 = BUFFERS;
const STATUS: u64 = BUFFERS + 0x100;
const DATA: u64 = BUFFERS + 0x1000;

/// A disk in memory that counts flushes, and fails where it is told to.
struct Probe {
    overlay: Overlay,
    read_only: bool,
    fails: bool,
    flushes: Arc<Mutex<u32>>,
}

impl BlockBackend for Probe {
    fn size(&self) -> u64 {
        self.overlay.size()
    }
    fn read_only(&self) -> bool {
        self.read_only
    }
    fn read(&mut self, mem: &GuestMemory, segments: &[Segment], offset: u64) -> io::Result<()> {
        if self.fails {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        self.overlay.read(mem, segments, offset)
    }
    fn write(&mut self, mem: &GuestMemory, segments: &[Segment], offset: u64) -> io::Result<()> {
        self.overlay.write(mem, segments, offset)
    }
    fn flush(&mut self) -> io::Result<()> {
        *lock(&self.flushes) += 1;
        Ok(())
    }
}

fn probe() -> Probe {
    Probe {
        overlay: Overlay::new(&[0xa5; 512], SECTORS * SECTOR),
        read_only: false,
        fails: false,
        flushes: Arc::default(),
    }
}

fn disk(probe: Probe, features: u64) -> Driver<Block> {
    Driver::start(Block::new(Box::new(probe), "disk0"), features)
}

/// Make a request of `data` (length, WRITE or 0); its status and the length written.
fn request(
    driver: &mut Driver<Block>,
    kind: u32,
    sector: u64,
    data: &[(u64, u32, u16)],
) -> (u8, u32) {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&kind.to_le_bytes());
    header[8..].copy_from_slice(&sector.to_le_bytes());
    driver.put(HEAD, &header);
    driver.put(STATUS, &[0xee]);
    let mut parts = vec![(HEAD, 16, 0)];
    parts.extend(data);
    parts.push((STATUS, 1, WRITE));
    let head = driver.chain(0, &parts);
    driver.notify(0);
    let used = driver.used(0);
    assert_eq!(used.len(), 1);
    assert_eq!(used[0].0, u32::from(head));
    (driver.get(STATUS, 1)[0], used[0].1)
}

#[test]
fn configuration_tells_size_and_limits() {
    let mut driver = disk(probe(), 0);
    assert_eq!(driver.config::<8>(0), SECTORS.to_le_bytes());
    assert_eq!(driver.config::<4>(12), 254_u32.to_le_bytes());
    assert_eq!(driver.config::<4>(20), 512_u32.to_le_bytes());
}

#[test]
fn sector_is_read() {
    let mut driver = disk(probe(), FLUSH);
    let answer = request(&mut driver, VIRTIO_BLK_T_IN, 0, &[(DATA, 1024, WRITE)]);
    assert_eq!(answer, (OK, 1025));
    let data = driver.get(DATA, 1024);
    assert!(data[..512] == [0xa5; 512] && data[512..] == [0; 512]);
}

#[test]
fn written_sectors_are_read_back_however_they_are_cut() {
    let mut driver = disk(probe(), FLUSH);
    let bytes: Vec<u8> = (0..1024_u32).map(|i| (i * 7) as u8).collect();
    driver.put(DATA, &bytes);
    let out = [(DATA, 100, 0), (DATA + 100, 924, 0)];
    assert_eq!(request(&mut driver, VIRTIO_BLK_T_OUT, 7, &out), (OK, 1));
    let into = [(DATA + 0x1000, 1000, WRITE), (DATA + 0x2000, 24, WRITE)];
    assert_eq!(request(&mut driver, VIRTIO_BLK_T_IN, 7, &into), (OK, 1025));
    assert!(driver.get(DATA + 0x1000, 1000) == bytes[..1000]);
    assert!(driver.get(DATA + 0x2000, 24) == bytes[1000..]);
}

#[test]
fn header_and_status_may_share_descriptors_with_data() {
    let mut driver = disk(probe(), FLUSH);
    driver.put(DATA, &[0; 16]);
    driver.put(DATA, &VIRTIO_BLK_T_OUT.to_le_bytes());
    driver.put(DATA + 8, &3_u64.to_le_bytes());
    driver.put(DATA + 16, &[0x5a; 512]);
    driver.chain(0, &[(DATA, 10, 0), (DATA + 10, 518, 0), (STATUS, 1, WRITE)]);
    driver.put(HEAD, &[0; 16]);
    driver.put(HEAD + 8, &3_u64.to_le_bytes());
    driver.chain(0, &[(HEAD, 16, 0), (DATA + 0x1000, 513, WRITE)]);
    driver.notify(0);
    assert_eq!(driver.used(0), [(0, 1), (3, 513)]);
    let data = driver.get(DATA + 0x1000, 513);
    assert!(data[..512] == [0x5a; 512] && data[512] == OK);
}

#[test]
fn sectors_past_the_end_are_an_error() {
    let mut driver = disk(probe(), FLUSH);
    for sector in [SECTORS - 1, SECTORS, u64::MAX, u64::MAX / 512, 1 << 55] {
        for (kind, flags) in [(VIRTIO_BLK_T_IN, WRITE), (VIRTIO_BLK_T_OUT, 0)] {
            let data = [(DATA, 1024, flags)];
            assert_eq!(request(&mut driver, kind, sector, &data), (IOERR, 1));
        }
    }
    assert!(!driver.lock().needs_reset());
}

#[test]
fn broken_sectors_are_an_error() {
    let mut driver = disk(probe(), FLUSH);
    let answer = request(&mut driver, VIRTIO_BLK_T_IN, 0, &[(DATA, 511, WRITE)]);
    assert_eq!(answer, (IOERR, 1));
}

#[test]
fn write_to_a_read_only_disk_is_an_error() {
    let read_only = Probe {
        read_only: true,
        ..probe()
    };
    let mut driver = disk(read_only, FLUSH);
    driver.write(0x14, 0);
    assert_ne!(driver.read(0x10) & 1 << VIRTIO_BLK_F_RO, 0);
    let answer = request(&mut driver, VIRTIO_BLK_T_OUT, 0, &[(DATA, 512, 0)]);
    assert_eq!(answer, (IOERR, 1));
}

#[test]
fn error_of_the_backend_is_an_error_of_the_request() {
    let failing = Probe {
        fails: true,
        ..probe()
    };
    let mut driver = disk(failing, FLUSH);
    let answer = request(&mut driver, VIRTIO_BLK_T_IN, 0, &[(DATA, 512, WRITE)]);
    assert_eq!(answer, (IOERR, 1));
}

#[test]
fn flush_reaches_the_backend() {
    let probe = probe();
    let flushes = Arc::clone(&probe.flushes);
    let mut driver = disk(probe, FLUSH);
    request(&mut driver, VIRTIO_BLK_T_OUT, 0, &[(DATA, 512, 0)]);
    assert_eq!(*lock(&flushes), 0);
    assert_eq!(request(&mut driver, VIRTIO_BLK_T_FLUSH, 0, &[]), (OK, 1));
    assert_eq!(*lock(&flushes), 1);
}

#[test]
fn every_write_is_flushed_for_a_driver_without_flush() {
    let probe = probe();
    let flushes = Arc::clone(&probe.flushes);
    let mut driver = disk(probe, 0);
    request(&mut driver, VIRTIO_BLK_T_OUT, 0, &[(DATA, 512, 0)]);
    assert_eq!(*lock(&flushes), 1);
}

#[test]
fn name_is_told() {
    let mut driver = disk(probe(), 0);
    let answer = request(&mut driver, VIRTIO_BLK_T_GET_ID, 0, &[(DATA, 20, WRITE)]);
    assert_eq!(answer, (OK, 21));
    assert_eq!(driver.get(DATA, 6), b"disk0\0");
}

#[test]
fn unknown_request_is_unsupported() {
    let mut driver = disk(probe(), 0);
    for kind in [VIRTIO_BLK_T_DISCARD, 2, u32::MAX] {
        assert_eq!(request(&mut driver, kind, 0, &[]), (UNSUPP, 1));
    }
}

#[test]
fn request_without_room_for_the_status_needs_reset() {
    let mut driver = disk(probe(), 0);
    driver.chain(0, &[(HEAD, 16, 0)]);
    driver.notify(0);
    assert!(driver.lock().needs_reset());
    assert!(driver.used(0).is_empty());
}

#[test]
fn request_with_half_a_header_needs_reset() {
    let mut driver = disk(probe(), 0);
    driver.chain(0, &[(HEAD, 15, 0), (STATUS, 1, WRITE)]);
    driver.notify(0);
    assert!(driver.lock().needs_reset());
}

#[test]
fn notification_does_not_allocate() {
    let mut driver = disk(probe(), FLUSH);
    driver.put(HEAD, &[0; 16]);
    let parts: Vec<_> = (0..12).map(|i| (DATA + 512 * i, 512, WRITE)).collect();
    let mut chain = vec![(HEAD, 16, 0)];
    chain.extend(parts);
    chain.push((STATUS, 1, WRITE));
    driver.chain(0, &chain);
    assert_eq!(allocations(|| driver.notify(0)), 0);
    assert_eq!(driver.used(0), [(0, 12 * 512 + 1)]);
}

proptest! {
    /// Whatever is asked, a disk behaves as an array of bytes.
    #[test]
    fn any_requests_are_those_on_an_array(
        requests in prop::collection::vec(
            (any::<bool>(), 0..SECTORS + 4, 0_u64..12, 0_u32..3, any::<u8>()), 1..40)
    ) {
        let mut driver = disk(probe(), FLUSH);
        let mut model = vec![0_u8; (SECTORS * SECTOR) as usize];
        model[..512].fill(0xa5);
        for (write, sector, count, odd, fill) in requests {
            let len = count * SECTOR + u64::from(odd == 2);
            let range = (sector * SECTOR) as usize..(sector * SECTOR + len) as usize;
            let good = odd < 2 && range.end <= model.len();
            let data = vec![fill; len as usize];
            driver.put(DATA, &data);
            let kind = if write { VIRTIO_BLK_T_OUT } else { VIRTIO_BLK_T_IN };
            let flags = if write { 0 } else { WRITE };
            let (status, _) = request(&mut driver, kind, sector, &[(DATA, len as u32, flags)]);
            prop_assert_eq!(status == OK, good);
            if good && write {
                model[range].copy_from_slice(&data);
            } else if good {
                prop_assert!(driver.get(DATA, len as usize) == model[range]);
            }
        }
    }

    #[test]
    fn any_chain_leaves_the_device_alive_or_in_need_of_reset(
        header in prop::array::uniform16(any::<u8>()),
        kind in 0_u8..14,
        parts in prop::collection::vec((BUFFERS - 64..LOW + 64, 0_u32..2048, any::<bool>()), 1..14),
    ) {
        let mut driver = disk(probe(), FLUSH);
        driver.put(HEAD, &header);
        driver.put(HEAD, &[kind, 0, 0, 0]);
        let mut chain = vec![(HEAD, 16, 0)];
        chain.extend(parts.into_iter().map(|(addr, len, write)| (addr, len, if write { WRITE } else { 0 })));
        driver.chain(0, &chain);
        driver.notify(0);
        let used = driver.used(0).len();
        prop_assert_eq!(used == 0, driver.lock().needs_reset());
    }
}
