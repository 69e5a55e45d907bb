//! Addresses of sockets.

use crate::flags;
use crate::structs::Fields;
use crate::text::quote;

/// `struct sockaddr`
pub fn address(bytes: &[u8]) -> String {
    let f = Fields(bytes);
    let family = f.number(0, 2);
    let name = flags::FAMILY.choice(family);
    match family {
        1 => {
            let path = bytes.get(2..).unwrap_or_default();
            let path = match path.first() {
                None => return format!("{{sa_family={name}}}"),
                // An abstract name: all bytes count.
                Some(0) => format!("@{}", quote(&path[1..], true)),
                Some(_) => {
                    let end = path.iter().position(|&b| b == 0).unwrap_or(path.len());
                    quote(&path[..end], true)
                }
            };
            format!("{{sa_family={name}, sun_path={path}}}")
        }
        2 if bytes.len() >= 8 => format!(
            "{{sa_family={name}, sin_port=htons({}), sin_addr=inet_addr(\"{}.{}.{}.{}\")}}",
            u16::from_be_bytes([bytes[2], bytes[3]]),
            bytes[4],
            bytes[5],
            bytes[6],
            bytes[7]
        ),
        _ => format!("{{sa_family={name}, ...}}"),
    }
}
