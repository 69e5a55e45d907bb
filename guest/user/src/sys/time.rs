//! Sleeping, and times as text.

use super::c_string;

/// Sleeps; returns early if a signal is caught.
pub fn sleep(seconds: u64, nanoseconds: u32) {
    let time = libc::timespec {
        tv_sec: seconds as _,
        tv_nsec: nanoseconds.into(),
    };
    // SAFETY: `time` is valid; the remaining time is not asked for.
    unsafe { libc::nanosleep(&time, std::ptr::null_mut()) };
}

/// Broken-down time of `seconds` since 1970: local (by `TZ`) or UTC.
pub fn broken_down(seconds: i64, utc: bool) -> libc::tm {
    // SAFETY: both functions fill the tm they are given.
    unsafe {
        let mut time: libc::tm = std::mem::zeroed();
        let seconds = seconds as _;
        if utc {
            libc::gmtime_r(&seconds, &mut time);
            // musl says UTC and takes no other name; glibc says GMT.
            if cfg!(target_env = "gnu") {
                time.tm_zone = c"UTC".as_ptr();
            }
        } else {
            libc::localtime_r(&seconds, &mut time);
        }
        time
    }
}

/// Seconds since 1970 of year, month, day, hour, minute and second: local (by `TZ`) or UTC.
pub fn seconds_of(fields: [i32; 6], utc: bool) -> Option<i64> {
    let [year, month, day, hour, minute, second] = fields;
    // SAFETY: all-zero bytes are a valid tm, and both functions read the one that they are given.
    unsafe {
        let mut time: libc::tm = std::mem::zeroed();
        time.tm_year = year.checked_sub(1900)?;
        (time.tm_mon, time.tm_mday) = (month - 1, day);
        (time.tm_hour, time.tm_min, time.tm_sec) = (hour, minute, second);
        time.tm_isdst = -1;
        let seconds = if utc {
            libc::timegm(&mut time)
        } else {
            libc::mktime(&mut time)
        };
        Some(seconds)
    }
}

/// Broken-down time by a format of `strftime`.
pub fn format_time(format: &[u8], time: &libc::tm) -> Vec<u8> {
    // A result may be empty by right; the mark tells that from one that does not fit.
    let format = c_string(&[format, b"|"].concat());
    let mut text = vec![0; 128];
    loop {
        // SAFETY: the buffer is valid for writing its length, `format` ends with NUL.
        let length =
            unsafe { libc::strftime(text.as_mut_ptr().cast(), text.len(), format.as_ptr(), time) };
        if length > 0 || text.len() > 1 << 16 {
            text.truncate(length.saturating_sub(1));
            return text;
        }
        text.resize(2 * text.len(), 0);
    }
}
