//! The manifests (OCI Image Format Specification 1.1): of a release, of what refers to it, and the index
//! that stands in where a registry cannot list what refers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{Object, Sha256};

/// "OCI Image Manifest Specification".
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// "OCI Image Index Specification".
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The artifact type of a release.
pub const RELEASE: &str = "application/vnd.counterfoil.release.v1";
/// The artifact type of a Sigstore bundle, as Sigstore's own tools attach it.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The artifact type of anything else that was said about a release.
pub const SAID: &str = "application/vnd.counterfoil.said.v1";
/// What the files of a release are to a registry.
const FILE: &str = "application/octet-stream";
/// "Guidance for an Empty Descriptor": the configuration that we do not have.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The contents of that.
pub const EMPTY_CONTENT: &[u8] = b"{}";
/// "Pre-Defined Annotation Keys": the name of a file; oras writes files by it, too.
const TITLE: &str = "org.opencontainers.image.title";

/// The most that a manifest has here; registries take 4 MiB ("Pushing Manifests").
pub const LARGEST: u64 = 4 << 20;

/// "OCI Content Descriptors".
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its digest; no other algorithm is read.
    #[serde(serialize_with = "write_digest", deserialize_with = "read_digest")]
    pub digest: Sha256,
    /// Its size in bytes.
    pub size: u64,
    /// The contents, where they are short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Of a manifest: what it is the manifest of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// More of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// "OCI Image Manifest Specification".
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    /// What it is the manifest of.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// Of an artifact such as ours, empty.
    pub config: Descriptor,
    /// The files.
    pub layers: Vec<Descriptor>,
    /// What it refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// More of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// "OCI Image Index Specification".
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    /// More of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A file by its path in the release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The path, with slashes.
    pub path: String,
    /// The contents.
    pub object: Object,
}

/// Why bytes are not the manifest of a release, or of what refers to one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a manifest at all.
    #[error("it is no manifest")]
    Json(#[from] serde_json::Error),
    /// A manifest of another kind or version.
    #[error("it is {found}; expected {expected}")]
    Kind {
        /// What was there.
        found: String,
        /// What should have been.
        expected: &'static str,
    },
    /// A file without a name.
    #[error("its layer {digest} has no name (`{TITLE}`)")]
    Nameless {
        /// Which.
        digest: Sha256,
    },
    /// A name that is no path in a release.
    #[error("its file `{}` is refused: {problem}", path.escape_debug())]
    Path {
        /// The name.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Manifest {
    /// Of a release with these files, in whatever order they come.
    pub fn of_release(files: &[File]) -> Self {
        let mut files: Vec<_> = files.iter().collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let layers = files.into_iter().map(|file| layer(FILE, file)).collect();
        Self::new(RELEASE, layers, None, BTreeMap::new())
    }

    /// Of one file that says something about `subject`. `annotations` are for those who look for it.
    pub fn referring(
        subject: Descriptor,
        file: &File,
        mut annotations: BTreeMap<String, String>,
    ) -> Self {
        let (artifact, media) = match is_bundle(&file.path) {
            true => (BUNDLE, BUNDLE),
            false => (SAID, FILE),
        };
        annotations.insert(TITLE.to_owned(), file.path.clone());
        Self::new(artifact, vec![layer(media, file)], Some(subject), annotations)
    }

    fn new(
        artifact: &str,
        layers: Vec<Descriptor>,
        subject: Option<Descriptor>,
        annotations: BTreeMap<String, String>,
    ) -> Self {
        let config = Descriptor {
            media_type: EMPTY.to_owned(),
            digest: Sha256::of(EMPTY_CONTENT),
            size: EMPTY_CONTENT.len() as u64,
            data: Some("e30=".to_owned()),
            artifact_type: None,
            annotations: BTreeMap::new(),
        };
        Self {
            schema_version: 2,
            media_type: Some(MANIFEST.to_owned()),
            artifact_type: Some(artifact.to_owned()),
            config,
            layers,
            subject,
            annotations,
        }
    }

    /// Reads any manifest.
    ///
    /// # Errors
    /// When it is none, or one of another version.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let read: Self = serde_json::from_slice(bytes)?;
        check(read.schema_version, read.media_type.as_deref(), MANIFEST)?;
        Ok(read)
    }

    /// The bytes of it, which its digest is of.
    pub fn bytes(&self) -> Vec<u8> {
        // Nothing in it can fail: strings, numbers and maps of them.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Its configuration, which has to be there, too.
    pub fn config_object(&self) -> Object {
        Object { sha256: self.config.digest, size: self.config.size }
    }

    /// How others name it.
    pub fn descriptor(&self) -> Descriptor {
        let bytes = self.bytes();
        Descriptor {
            media_type: MANIFEST.to_owned(),
            digest: Sha256::of(&bytes),
            size: bytes.len() as u64,
            data: None,
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }

    /// How an index names it: with what it is ("Pushing Manifests with Subject").
    pub fn in_index(&self) -> Descriptor {
        let artifact_type = self.artifact_type.clone();
        Descriptor { artifact_type, annotations: self.annotations.clone(), ..self.descriptor() }
    }

    /// The files of a release, whose names lead nowhere else and do not stand in each other's way.
    ///
    /// # Errors
    /// When it is the manifest of something else, or a name is refused.
    pub fn files(&self) -> Result<Vec<File>, Error> {
        self.expect(
            |artifact| artifact == RELEASE,
            "a release (`application/vnd.counterfoil.release.v1`)",
        )?;
        let mut files = Vec::new();
        let mut taken = BTreeSet::new();
        for layer in &self.layers {
            let file = named(layer)?;
            let refused = |problem| Error::Path { path: file.path.clone(), problem };
            if is_said(&file.path) {
                return Err(refused("what is said about a release is no part of it"));
            }
            if !taken.insert(file.path.clone()) {
                return Err(refused("there are two of it"));
            }
            files.push(file);
        }
        let below = |path: &str| {
            let mut parents = path.match_indices('/').map(|(at, _)| &path[..at]);
            parents.any(|parent| taken.contains(parent))
        };
        match files.iter().find(|file| below(&file.path)) {
            None => Ok(files),
            Some(file) => {
                let problem = "it stands below another file";
                Err(Error::Path { path: file.path.clone(), problem })
            }
        }
    }

    /// The one file of what refers to `subject`.
    ///
    /// # Errors
    /// When it does not refer to that, has not one file, or one with a name of something else than what is
    /// said about a release.
    pub fn said_about(&self, subject: Sha256) -> Result<File, Error> {
        self.expect(is_ours, "something that was said about a release")?;
        let refers = self.subject.as_ref().is_some_and(|it| it.digest == subject);
        let [layer] = self.layers.as_slice() else {
            let found = format!("a manifest of {} files", self.layers.len());
            return Err(Error::Kind { found, expected: "a manifest of one file" });
        };
        if !refers {
            let found = "about something else".to_owned();
            return Err(Error::Kind { found, expected: "something about this release" });
        }
        let file = named(layer)?;
        match is_said(&file.path) {
            true => Ok(file),
            false => {
                let problem =
                    "what is attached to a release may not stand in the place of a part of it";
                Err(Error::Path { path: file.path, problem })
            }
        }
    }

    fn expect(&self, fits: impl Fn(&str) -> bool, expected: &'static str) -> Result<(), Error> {
        let artifact = self.artifact_type.as_deref().unwrap_or(&self.config.media_type);
        match fits(artifact) {
            true => Ok(()),
            false => Err(Error::Kind { found: format!("`{}`", artifact.escape_debug()), expected }),
        }
    }
}

impl Index {
    /// With nothing in it.
    pub fn empty() -> Self {
        Self {
            schema_version: 2,
            media_type: Some(INDEX.to_owned()),
            manifests: Vec::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// Reads any index.
    ///
    /// # Errors
    /// When it is none, or one of another version.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let read: Self = serde_json::from_slice(bytes)?;
        check(read.schema_version, read.media_type.as_deref(), INDEX)?;
        Ok(read)
    }

    /// The bytes of it.
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Puts a manifest in, and takes out what it comes in the place of: what has the same type and name.
    /// Whether that changed anything.
    pub fn put(&mut self, new: Descriptor) -> bool {
        if self.manifests.contains(&new) {
            return false;
        }
        let name = |descriptor: &Descriptor| descriptor.annotations.get(TITLE).cloned();
        let replaced = |old: &Descriptor| {
            old.digest == new.digest
                || (old.artifact_type == new.artifact_type
                    && name(old).is_some()
                    && name(old) == name(&new))
        };
        self.manifests.retain(|old| !replaced(old));
        self.manifests.push(new);
        true
    }
}

/// Whether this may be something that we attached, by its artifact type.
pub fn is_ours(artifact_type: &str) -> bool {
    matches!(artifact_type, BUNDLE | SAID)
}

/// Whether a path of a release is of something that was said about it, rather than of a part of it.
pub fn is_said(path: &str) -> bool {
    const NAMES: [&str; 1] = ["statement.json"];
    path.starts_with("rebuilds/")
        || is_bundle(path)
        || path.ends_with(".tlog-proof")
        || NAMES.contains(&path)
}

fn is_bundle(path: &str) -> bool {
    path.ends_with(".sigstore.json")
}

fn check(version: u32, found: Option<&str>, expected: &'static str) -> Result<(), Error> {
    // The field may be missing ("Image Manifest Property Descriptions").
    match found {
        Some(other) if other != expected => {
            Err(Error::Kind { found: format!("`{}`", other.escape_debug()), expected })
        }
        _ if version != 2 => {
            let found = format!("of version {version}");
            Err(Error::Kind { found, expected: "one of version 2" })
        }
        _ => Ok(()),
    }
}

fn layer(media_type: &str, file: &File) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: file.object.sha256,
        size: file.object.size,
        data: None,
        artifact_type: None,
        annotations: BTreeMap::from([(TITLE.to_owned(), file.path.clone())]),
    }
}

/// The file that a layer is, by a name that can be joined to a directory's.
fn named(layer: &Descriptor) -> Result<File, Error> {
    let path = layer.annotations.get(TITLE).ok_or(Error::Nameless { digest: layer.digest })?;
    check_path(path).map_err(|problem| Error::Path { path: path.clone(), problem })?;
    Ok(File { path: path.clone(), object: Object { sha256: layer.digest, size: layer.size } })
}

/// What is wrong with a name of a file, if anything.
///
/// # Errors
/// What is wrong.
pub fn check_path(path: &str) -> Result<(), &'static str> {
    if path.starts_with('/') {
        return Err("it is an absolute path");
    }
    if path.len() > 1024 || path.split('/').any(|part| part.len() > 255) {
        return Err("it is too long");
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Err("it has characters that no file of a release has");
    }
    match path.split('/').find(|part| matches!(*part, "" | "." | "..")) {
        Some("..") => Err("it leads out of the release"),
        Some(_) => Err("it is no plain path"),
        None => Ok(()),
    }
}

fn write_digest<S: Serializer>(digest: &Sha256, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("sha256:{digest}"))
}

/// "Digests", `algorithm:encoded`.
fn read_digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Sha256, D::Error> {
    let text = String::deserialize(deserializer)?;
    let hex = text.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
    hex.ok_or_else(|| {
        serde::de::Error::custom("expected a digest `sha256:` and 64 lower-case hex digits")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> File {
        let object = Object { sha256: Sha256::of(path), size: path.len() as u64 };
        File { path: path.to_owned(), object }
    }

    #[test]
    fn the_bytes_of_a_manifest() {
        let manifest = Manifest::of_release(&[file("lock.yaml"), file("image/kernel")]);
        let expected = concat!(
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
            r#""artifactType":"application/vnd.counterfoil.release.v1","#,
            r#""config":{"mediaType":"application/vnd.oci.empty.v1+json","#,
            r#""digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","#,
            r#""size":2,"data":"e30="},"#,
            r#""layers":[{"mediaType":"application/octet-stream","digest":"sha256:KERNEL","size":12,"#,
            r#""annotations":{"org.opencontainers.image.title":"image/kernel"}},"#,
            r#"{"mediaType":"application/octet-stream","digest":"sha256:LOCK","size":9,"#,
            r#""annotations":{"org.opencontainers.image.title":"lock.yaml"}}]}"#,
        )
        .replace("KERNEL", &Sha256::of("image/kernel").to_string())
        .replace("LOCK", &Sha256::of("lock.yaml").to_string());
        assert_eq!(String::from_utf8(manifest.bytes()).unwrap(), expected);
        let again = Manifest::parse(&manifest.bytes()).unwrap();
        assert_eq!(again, manifest);
        assert_eq!(again.files().unwrap(), [file("image/kernel"), file("lock.yaml")]);
    }

    #[test]
    fn names_that_are_refused() {
        for path in [
            "/etc/passwd",
            "../x",
            "image/../../x",
            "image//kernel",
            "./kernel",
            "image/.",
            "",
            "image/",
            "a\\b",
            "a\nb",
            "a\0b",
            "..",
            "rebuilds/x.json",
            "statement.sigstore.json",
            &"x".repeat(300),
        ] {
            let manifest = Manifest::of_release(&[file("lock.yaml"), file(path)]);
            let manifest = Manifest::parse(&manifest.bytes()).unwrap();
            assert!(matches!(manifest.files(), Err(Error::Path { .. })), "{path}");
        }
        for pair in [["a", "a"], ["a", "a/b"], ["a/b/c", "a/b"]] {
            let manifest = Manifest::of_release(&pair.map(file));
            assert!(matches!(manifest.files(), Err(Error::Path { .. })), "{pair:?}");
        }
    }

    #[test]
    fn what_refers_stands_in_no_parts_place() {
        let release = Manifest::of_release(&[file("lock.yaml")]);
        let of =
            |path: &str| Manifest::referring(release.descriptor(), &file(path), BTreeMap::new());
        let subject = release.descriptor().digest;
        for path in [
            "statement.sigstore.json",
            "rebuilds/me.json",
            "statement.tlog-proof",
            "statement.json",
        ] {
            assert_eq!(of(path).said_about(subject).unwrap(), file(path));
        }
        for path in
            ["lock.yaml", "image/kernel", "../statement.sigstore.json", "rebuilds/../lock.yaml"]
        {
            assert!(of(path).said_about(subject).is_err(), "{path}");
        }
        assert!(of("statement.sigstore.json").said_about(Sha256::of("another")).is_err());
        assert!(release.said_about(subject).is_err());
        assert!(of("statement.sigstore.json").files().is_err());
    }

    #[test]
    fn an_index_names_each_thing_once() {
        let release = Manifest::of_release(&[file("lock.yaml")]);
        let of = |path: &str, content: &str| {
            let object = Object { sha256: Sha256::of(content), size: 1 };
            let file = File { path: path.to_owned(), object };
            Manifest::referring(release.descriptor(), &file, BTreeMap::new()).in_index()
        };
        let mut index = Index::empty();
        assert!(index.put(of("statement.sigstore.json", "1")));
        assert!(!index.put(of("statement.sigstore.json", "1")));
        assert!(index.put(of("rebuilds/me.sigstore.json", "1")));
        assert!(index.put(of("statement.sigstore.json", "2")));
        let kept = [of("rebuilds/me.sigstore.json", "1"), of("statement.sigstore.json", "2")];
        assert_eq!(Index::parse(&index.bytes()).unwrap().manifests, kept);
    }

    #[test]
    fn other_manifests_and_other_digests() {
        let good = String::from_utf8(Manifest::of_release(&[file("a")]).bytes()).unwrap();
        for (from, to) in [
            (r#""schemaVersion":2"#, r#""schemaVersion":1"#),
            (MANIFEST, INDEX),
            ("sha256:", "sha512:"),
            ("sha256:4", "sha256:A"),
        ] {
            assert!(Manifest::parse(good.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
        }
        // Fields that we do not know are somebody else's business.
        assert!(Manifest::parse(good.replacen('{', r#"{"more":[1],"#, 1).as_bytes()).is_ok());
    }
}
