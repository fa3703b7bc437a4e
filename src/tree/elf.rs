//! What an ELF file needs to run: its interpreter, its libraries, where it looks for them.

use std::collections::{BTreeMap, VecDeque};

use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, FileHeader64, PT_INTERP};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};
use object::{Endianness, StringTable};

use crate::names::GuestPath;

/// Directories that Debian's dynamic linker searches without being told (ld.so(8), multiarch).
const DEFAULT_DIRECTORIES: [&str; 6] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// A file whose needs cannot be told, or met.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// Not ELF, or damaged.
    #[error("`{path}` is not an x86-64 ELF file: {reason}")]
    Malformed {
        /// The file.
        path: GuestPath,
        /// What is wrong.
        reason: String,
    },
    /// A library that no input provides.
    #[error("`{path}` needs the library `{library}`, which none of the input's packages provides")]
    Library {
        /// Who needs it.
        path: GuestPath,
        /// Its name.
        library: String,
    },
    /// An interpreter that no input provides.
    #[error(
        "`{path}` needs the interpreter `{interpreter}`, which none of the input's packages provides"
    )]
    Interpreter {
        /// Who needs it.
        path: GuestPath,
        /// Its path.
        interpreter: String,
    },
}

/// The dynamic needs of one file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// `PT_INTERP`, for a dynamic executable.
    pub interpreter: Option<String>,
    /// `DT_NEEDED`, in order.
    pub libraries: Vec<String>,
    /// `DT_RUNPATH`, or else `DT_RPATH`: directories searched before the default ones.
    pub directories: Vec<String>,
}

/// Whether the bytes are an ELF file's at all.
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(&object::elf::ELFMAG)
}

impl Needs {
    /// Reads the needs of the ELF file in `bytes`, which stands at `path` in the guest.
    ///
    /// # Errors
    /// When it is not a 64-bit x86 ELF file, or its tables are damaged.
    pub fn of(path: &GuestPath, bytes: &[u8]) -> Result<Self, ElfError> {
        Self::read(path, bytes).map_err(|reason| ElfError::Malformed { path: path.clone(), reason })
    }

    fn read(path: &GuestPath, bytes: &[u8]) -> Result<Self, String> {
        let text = |error: object::Error| error.to_string();
        let header = FileHeader64::<Endianness>::parse(bytes).map_err(text)?;
        let endian = header.endian().map_err(text)?;
        if header.e_machine(endian) != object::elf::EM_X86_64 {
            return Err("it is for another machine".to_owned());
        }
        let mut needs = Self::default();
        let segments = header.program_headers(endian, bytes).map_err(text)?;
        let address_to_bytes = |address: u64, size: u64| {
            segments.iter().find_map(|s| s.data_range(endian, bytes, address, size).ok().flatten())
        };
        let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|e| e.to_string());
        for segment in segments {
            if segment.p_type(endian) == PT_INTERP {
                let data = segment.data(endian, bytes).map_err(|()| "PT_INTERP is cut short")?;
                let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
                needs.interpreter = Some(string(&data[..end])?);
            }
            let Some(entries) = segment.dynamic(endian, bytes).map_err(text)? else { continue };
            let value =
                |tag| entries.iter().find(|e| e.tag(endian) == tag).map(|e| e.d_val(endian));
            let (Some(address), Some(size)) =
                (value(object::elf::DT_STRTAB), value(object::elf::DT_STRSZ))
            else {
                continue;
            };
            let data = address_to_bytes(address, size).ok_or("its string table lies outside")?;
            let strings = StringTable::new(data, 0, data.len() as u64);
            let get = |offset: u64| {
                let offset = u32::try_from(offset).map_err(|e| e.to_string())?;
                let bytes = strings.get(offset).map_err(|()| "a name lies outside")?;
                string(bytes)
            };
            for entry in entries.iter().filter(|entry| entry.tag(endian) == DT_NEEDED) {
                needs.libraries.push(get(entry.d_val(endian))?);
            }
            if let Some(offset) = value(DT_RUNPATH).or_else(|| value(DT_RPATH)) {
                let origin = path.parent().map(|p| p.to_string()).unwrap_or_default();
                needs.directories = get(offset)?
                    .split(':')
                    .map(|dir| dir.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin))
                    .collect();
            }
        }
        Ok(needs)
    }
}

/// A place that libraries come from.
pub trait Libraries {
    /// The bytes of the file at `path`, if there is one.
    fn file(&self, path: &GuestPath) -> Option<Vec<u8>>;
}

/// Every file that those at `roots` need to run: interpreter and libraries, transitively, by the
/// path at which the kernel or the dynamic linker will look for them, with the path at which the
/// packages hold them (a merged `/usr` makes `/lib64/x` of `/usr/lib64/x`). The roots are not part
/// of the result.
///
/// # Errors
/// When a library or interpreter is provided by nobody; the sentence says which, and who needs it.
pub fn closure(
    roots: &BTreeMap<GuestPath, Vec<u8>>,
    from: &impl Libraries,
) -> Result<BTreeMap<GuestPath, GuestPath>, ElfError> {
    let mut found = BTreeMap::new();
    let mut queue = VecDeque::new();
    for (path, bytes) in roots {
        queue.push_back((path.clone(), Needs::of(path, bytes)?));
    }
    while let Some((path, needs)) = queue.pop_front() {
        if let Some(interpreter) = &needs.interpreter {
            let missing =
                || ElfError::Interpreter { path: path.clone(), interpreter: interpreter.clone() };
            let at: GuestPath = interpreter.parse().map_err(|_| missing())?;
            let merged: GuestPath = format!("/usr{at}").parse().map_err(|_| missing())?;
            let held = [at.clone(), merged].into_iter().find(|path| from.file(path).is_some());
            found.insert(at, held.ok_or_else(missing)?);
        }
        for library in &needs.libraries {
            let (at, bytes) =
                search(library, &needs.directories, from, roots).ok_or_else(|| {
                    ElfError::Library { path: path.clone(), library: library.clone() }
                })?;
            if !roots.contains_key(&at)
                && !is_interpreter(&found, library)
                && found.insert(at.clone(), at.clone()).is_none()
            {
                queue.push_back((at.clone(), Needs::of(&at, &bytes)?));
            }
        }
    }
    Ok(found)
}

/// Libraries may name the interpreter as a library; it is in memory already and is not looked for.
fn is_interpreter(found: &BTreeMap<GuestPath, GuestPath>, library: &str) -> bool {
    library.starts_with("ld-linux")
        && found.keys().any(|path| path.as_str().rsplit('/').next() == Some(library))
}

fn search(
    library: &str,
    directories: &[String],
    from: &impl Libraries,
    roots: &BTreeMap<GuestPath, Vec<u8>>,
) -> Option<(GuestPath, Vec<u8>)> {
    directories.iter().map(String::as_str).chain(DEFAULT_DIRECTORIES).find_map(|directory| {
        let path = GuestPath::root().walk(&format!("{directory}/{library}"))?;
        let bytes = roots.get(&path).cloned().or_else(|| from.file(&path))?;
        Some((path, bytes))
    })
}
