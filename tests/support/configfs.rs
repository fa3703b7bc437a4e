//! An entry among the kernel's requests for reports (Linux, Documentation/ABI/testing/configfs-tsm-report), as
//! a plain directory: what the kernel computes when it is read is a FIFO here, and a thread answers.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::fs::{CWD, FileType, Mode};

/// What REPORT_DATA a report is asked over becomes: `outblob` and `auxblob`.
pub type Reporter = Box<dyn FnMut([u8; 64]) -> (Vec<u8>, Vec<u8>) + Send>;

/// A directory such as `/sys/kernel/config/tsm/report/counterfoil`.
pub struct Simulated {
    directory: PathBuf,
    kernel: Arc<Mutex<Kernel>>,
}

struct Kernel {
    inblob: PathBuf,
    reporter: Reporter,
    auxblob: Vec<u8>,
    generation: u64,
    /// How often somebody else writes while a report is made.
    others: u64,
}

impl Simulated {
    /// Makes the directory, of the provider `sev_guest`, and serves it for as long as the test runs.
    pub fn start(
        directory: &Path,
        reporter: impl FnMut([u8; 64]) -> (Vec<u8>, Vec<u8>) + Send + 'static,
    ) -> Self {
        fs::create_dir_all(directory).unwrap();
        let inblob = directory.join("inblob");
        fs::write(&inblob, "").unwrap();
        fs::write(directory.join("provider"), "sev_guest\n").unwrap();
        let kernel = Kernel {
            inblob,
            reporter: Box::new(reporter),
            auxblob: Vec::new(),
            generation: 41,
            others: 0,
        };
        let kernel = Arc::new(Mutex::new(kernel));
        answer(&directory.join("generation"), &kernel, |kernel| {
            format!("{}\n", kernel.generation).into_bytes()
        });
        answer(&directory.join("outblob"), &kernel, Kernel::report);
        answer(&directory.join("auxblob"), &kernel, |kernel| kernel.auxblob.clone());
        Self { directory: directory.to_owned(), kernel }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// From here on, somebody else writes to the entry so many times while a report is made.
    pub fn others_write(&self, times: u64) {
        self.kernel.lock().unwrap().others = times;
    }

    /// An attribute, which here is another file from now on, or none.
    pub fn replace(&self, attribute: &str, with: Option<&str>) {
        let path = self.directory.join(attribute);
        let _ = fs::remove_file(&path);
        if let Some(text) = with {
            fs::write(path, text).unwrap();
        }
    }

    /// An attribute cannot be read from now on: it is a directory.
    pub fn fail(&self, attribute: &str) {
        self.replace(attribute, None);
        fs::create_dir(self.directory.join(attribute)).unwrap();
    }

    /// The provider leaves, as when its module is taken out.
    pub fn vanish(&self) {
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

impl Kernel {
    /// Nothing, if nothing was written to report over.
    fn report(&mut self) -> Vec<u8> {
        let Ok(report_data) = fs::read(&self.inblob).unwrap_or_default().try_into() else {
            return Vec::new();
        };
        fs::write(&self.inblob, "").unwrap();
        self.generation += 1 + self.others;
        let (outblob, auxblob) = (self.reporter)(report_data);
        self.auxblob = auxblob;
        outblob
    }
}

/// Makes a FIFO and answers each of its readers, from a thread that ends with the process.
fn answer(path: &Path, kernel: &Arc<Mutex<Kernel>>, with: fn(&mut Kernel) -> Vec<u8>) {
    make_fifo(path);
    let (path, kernel) = (path.to_owned(), Arc::clone(kernel));
    thread::spawn(move || {
        // To open it waits for a reader.
        while let Ok(mut fifo) = OpenOptions::new().write(true).open(&path) {
            // A test may have put something else there before this thread came to open it.
            if !fifo.metadata().is_ok_and(|found| found.file_type().is_fifo()) {
                break;
            }
            let answer = with(&mut kernel.lock().unwrap());
            // The next reader must not find this one's FIFO, or it would read what is written here.
            let next = path.with_extension("next");
            make_fifo(&next);
            if fs::rename(&next, &path).is_err() {
                break;
            }
            // Whoever asked may have left.
            let _ = fifo.write_all(&answer);
        }
    });
}

fn make_fifo(path: &Path) {
    // Of a directory that is gone.
    let _ = rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0);
}
