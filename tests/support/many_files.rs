//! Files by the thousand, always the same.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

/// Bytes that are all different and always the same.
pub fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = vec![0; count];
    for byte in &mut bytes {
        // xorshift64 (Marsaglia 2003)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state.to_le_bytes()[3];
    }
    bytes
}

/// 20 000 files of all sizes, some links, some programs, in some hundred directories.
pub fn twenty_thousand(root: &Path) {
    for number in 0_u64..20_000 {
        let directory = root.join(format!("{:02}/{:02}", number % 17, number % 13));
        fs::create_dir_all(&directory).unwrap();
        let size = match number % 100 {
            0 => 40_000 + number,
            n if n < 10 => 2040 + n * 3,
            n if n < 20 => 4090 + (n - 10) * 2,
            n => n * n % 3000,
        };
        let file = directory
            .join(format!("{number}{}", ".-x".repeat(usize::try_from(number % 7).unwrap())));
        fs::write(&file, noise(number, usize::try_from(size).unwrap())).unwrap();
        let mode = if number % 3 == 0 { 0o755 } else { 0o644 };
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        if number % 50 == 0 {
            symlink(format!("../{number}"), directory.join(format!("link{number}"))).unwrap();
        }
    }
    for entry in walkdir::WalkDir::new(root) {
        let entry = entry.unwrap();
        if entry.file_type().is_dir() {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}
