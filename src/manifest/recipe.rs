//! Recipes: what a firmware, a kernel or a program is compiled from, in a file of its own. A manifest that
//! names one gets its inputs, as if they stood there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use crate::error::{Context as _, Error, Kind, Result};
use crate::manifest::load::{MAX_BYTES, check_source, check_version, read_text};
use crate::manifest::types::{Firmware, Kernel, Source, Tar};
use crate::names::{Line, Name, NameError};
use crate::yaml::{At, Document};

/// A recipe: the inputs it brings, and the kernel or the firmware made of them, if it is one's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Recipe {
    version: At<u32>,
    inputs: BTreeMap<Name, At<Source>>,
    pub kernel: Option<Kernel>,
    pub firmware: Option<Firmware>,
}

/// The inputs `names`, as the recipe at `path` says them, and what they are made of.
pub(super) fn recipe_of_inputs(
    document: Document<'_>,
    path: &Line,
    names: &[At<Name>],
    directory: &Path,
    inputs: &mut BTreeMap<Name, Source>,
) -> Result<()> {
    let of: Vec<_> = names.iter().map(|name| format!("input `{}`", name.value)).collect();
    let brought = with_recipe(path, directory, &of.join(", "), inputs, |recipe, _, document| {
        let of = recipe.kernel.map(|_| "kernel").or(recipe.firmware.map(|_| "firmware"));
        match of {
            Some(of) => Err(Error::new(
                Kind::Malformed,
                format!("{}: this is the recipe of a {of}", document.name),
            )
            .hint(format!("name it under `{of}.recipe`"))),
            None => Ok(recipe.inputs.into_keys().collect::<BTreeSet<_>>()),
        }
    })?;
    match names.iter().find(|name| !brought.contains(&name.value)) {
        Some(At { value: name, position }) => {
            let message = format!("the recipe `{path}` has no input `{name}`");
            let known: Vec<_> = brought.iter().map(Name::as_str).collect();
            let hint = format!(
                "an input has the name that its recipe gives it; there: {}",
                known.join(", ")
            );
            Err(document.error_at(*position, message).hint(hint))
        }
        None => Ok(()),
    }
}

pub(super) fn no_recipe_of(what: &str, document: Document<'_>) -> Error {
    Error::new(Kind::Malformed, format!("{}: this is no recipe of a {what}", document.name))
        .hint(format!("expected `version`, `inputs` and `{what}`"))
}

/// Reads the recipe at `path`, as seen from the manifest, and adds its inputs; `read` takes what else is
/// in it.
pub(super) fn with_recipe<T>(
    path: &Line,
    directory: &Path,
    of: &str,
    inputs: &mut BTreeMap<Name, Source>,
    read: impl FnOnce(Recipe, &BTreeMap<Name, Source>, Document<'_>) -> Result<T>,
) -> Result<T> {
    let beside = Path::new(path.as_str()).parent().unwrap_or(Path::new(""));
    let path = directory.join(path.as_str());
    let name = path.display().to_string();
    let text = read_text(&path, MAX_BYTES)?;
    let document = Document { name: &name, text: &text };
    let added = || {
        let recipe: Recipe = document.parse()?;
        add_inputs(document, &recipe, beside, inputs)?;
        read(recipe, inputs, document)
    };
    added().map_err(|error| error.context(format!("the recipe of the {of}, `{name}`")))
}

/// Adds what a recipe brings, whose directory is `beside` as seen from the manifest.
fn add_inputs(
    document: Document<'_>,
    recipe: &Recipe,
    beside: &Path,
    inputs: &mut BTreeMap<Name, Source>,
) -> Result<()> {
    check_version(document, &recipe.version)?;
    for (name, source) in &recipe.inputs {
        check_source(document, name, source)?;
        let At { value, position } = source;
        let source = moved(value.clone(), beside)
            .context(Kind::Malformed, || format!("input `{name}` of `{}`", document.name))?;
        if inputs.insert(name.clone(), source).is_some() {
            let message =
                format!("there is an input `{name}` already, of the manifest or of another recipe");
            return Err(document.error_at(*position, message).hint("rename the manifest's"));
        }
    }
    Ok(())
}

/// A recipe's local paths are relative to the recipe; a manifest's inputs, to the manifest.
fn moved(source: Source, beside: &Path) -> Result<Source, NameError> {
    let move_path = |path: Line| beside.join(path.as_str()).display().to_string().parse();
    Ok(match source {
        Source::File(path) => Source::File(move_path(path)?),
        Source::Dir(path) => Source::Dir(move_path(path)?),
        Source::Tar(Tar { file: Some(path), url, sha256 }) => {
            Source::Tar(Tar { file: Some(move_path(path)?), url, sha256 })
        }
        other => other,
    })
}
