//! What a manifest asks of its kernel by what it asks of the guest.

use crate::kernel::config::{Config, Setting};
use crate::names::ModuleRequest;

/// An option of the kernel, and the names of the module that it is where it is one.
pub(super) type Need = (&'static str, &'static [&'static str]);

/// The modules that meet these needs, or the option that the kernel lacks.
pub(super) fn needed<'n>(
    needs: impl IntoIterator<Item = &'n Need>,
    config: &Config,
) -> Result<Vec<ModuleRequest>, &'static str> {
    let mut requests = Vec::new();
    for (option, modules) in needs {
        match config.setting(option) {
            Setting::BuiltIn => {}
            Setting::Module => {
                let names = modules.iter().map(|name| (*name).to_owned()).collect();
                requests.push(ModuleRequest { names, optional: false });
            }
            Setting::Off => return Err(option),
        }
    }
    Ok(requests)
}
