//! The manifests (OCI Image Format Specification 1.1): of a release, of what refers to it, and the index
//! that stands in where a registry cannot list what refers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::{Object, Sha256};
use crate::oci::descriptor::{Descriptor, Digest};
use crate::report::time::Time;
use crate::statement::bundle;

/// "OCI Image Manifest Specification".
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// "OCI Image Index Specification".
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The artifact type of a release.
pub const RELEASE: &str = "application/vnd.counterfoil.release.v1";
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
/// "Pre-Defined Annotation Keys": when it was made. Sigstore's tools order bundles by it; here it is the time that
/// the bundle itself says, so that it does not depend on who pushes.
pub const CREATED: &str = "org.opencontainers.image.created";
/// Beside which bundle a proof, a verdict or a statement's words stood: its digest.
pub const BESIDE: &str = "vnd.counterfoil.beside";

/// How the name of a bundle ends.
pub const SIGNED: &str = ".sigstore.json";
/// How the name of a proof ends that a log has it.
pub const PROOF: &str = ".tlog-proof";
/// The directories of a release in which only what is said about it stands.
const SAID_IN: [&str; 2] = ["rebuilds", "statements"];

/// The most that a manifest has here; registries take 4 MiB ("Pushing Manifests").
pub const LARGEST: u64 = 4 << 20;

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
    /// What others say of it, as in [`Descriptor::more`].
    #[serde(flatten)]
    pub more: Map<String, Value>,
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
    /// A file by a digest that cannot be checked.
    #[error("its layer `{digest}` is not named by its SHA-256")]
    Foreign {
        /// Which.
        digest: Digest,
    },
    /// A file without a name.
    #[error("its layer `{digest}` has no name (`{TITLE}`)")]
    Nameless {
        /// Which.
        digest: Digest,
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
            true => (bundle::MEDIA_TYPE, bundle::MEDIA_TYPE),
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
        let config =
            Descriptor { data: Some("e30=".to_owned()), ..descriptor(EMPTY, empty_config()) };
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

    /// Its own bytes, by what they are.
    pub fn object(&self) -> Object {
        let bytes = self.bytes();
        Object { sha256: Sha256::of(&bytes), size: bytes.len() as u64 }
    }

    /// How others name it.
    pub fn descriptor(&self) -> Descriptor {
        descriptor(MANIFEST, self.object())
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
            // Whatever stood there would keep others from saying something.
            if is_said(&file.path) || SAID_IN.contains(&first_part(&file.path)) {
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
        let refers = self.subject.as_ref().is_some_and(|it| it.digest.sha256() == Some(subject));
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

    /// When what it attaches was made, where it says so in UTC.
    pub fn created(&self) -> Option<Time> {
        let text = self.annotations.get(CREATED)?.strip_suffix('Z')?;
        // Fractions of a second (RFC 3339, section 5.6) decide nothing here.
        let whole = text.split('.').next().unwrap_or_default();
        format!("{whole}Z").parse().ok()
    }

    /// Beside which bundle stood what it attaches, where it says so.
    pub fn beside(&self) -> Option<Sha256> {
        self.annotations.get(BESIDE)?.parse::<Digest>().ok()?.sha256()
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
            more: Map::new(),
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

    /// Adds a manifest, unless it is there already, and says whether it did. Nothing is taken out: what has the
    /// same name may be somebody else's, who says something else ("Pushing Manifests with Subject": append).
    pub fn put(&mut self, new: Descriptor) -> bool {
        let is_new = self.manifests.iter().all(|old| old.digest != new.digest);
        if is_new {
            self.manifests.push(new);
        }
        is_new
    }
}

/// The configuration of every manifest here, which has to be in the registry, too.
pub fn empty_config() -> Object {
    Object { sha256: Sha256::of(EMPTY_CONTENT), size: EMPTY_CONTENT.len() as u64 }
}

/// Whether this may be something that we attached, by its artifact type.
pub fn is_ours(artifact_type: &str) -> bool {
    matches!(artifact_type, bundle::MEDIA_TYPE | SAID)
}

/// Whether a path of a release is of something that was said about it, rather than of a part of it.
pub fn is_said(path: &str) -> bool {
    let signed = is_bundle(path) || path.ends_with(PROOF);
    // Nothing stands deeper: there it could stand below another file, and readers look no deeper either.
    match path.rsplit_once('/') {
        None => signed || path == "statement.json",
        Some(("rebuilds", _)) => true,
        Some(("statements", _)) => signed,
        Some(_) => false,
    }
}

fn is_bundle(path: &str) -> bool {
    path.ends_with(SIGNED)
}

fn first_part(path: &str) -> &str {
    path.split('/').next().unwrap_or_default()
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
    let annotations = BTreeMap::from([(TITLE.to_owned(), file.path.clone())]);
    Descriptor { annotations, ..descriptor(media_type, file.object) }
}

fn descriptor(media_type: &str, object: Object) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: object.sha256.into(),
        size: object.size,
        data: None,
        artifact_type: None,
        annotations: BTreeMap::new(),
        more: Map::new(),
    }
}

/// The file that a layer is, by a name that can be joined to a directory's.
fn named(layer: &Descriptor) -> Result<File, Error> {
    let Descriptor { digest, size, .. } = layer;
    let foreign = || Error::Foreign { digest: digest.clone() };
    let object = Object { sha256: digest.sha256().ok_or_else(foreign)?, size: *size };
    let nameless = || Error::Nameless { digest: digest.clone() };
    let path = layer.annotations.get(TITLE).ok_or_else(nameless)?;
    check_path(path).map_err(|problem| Error::Path { path: path.clone(), problem })?;
    Ok(File { path: path.clone(), object })
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
            "rebuilds",
            "rebuilds/x/y.json",
            "statements/x.json",
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
        let subject = release.object().sha256;
        for path in [
            "statement.sigstore.json",
            "rebuilds/me.json",
            "statement.tlog-proof",
            "statement.json",
        ] {
            assert_eq!(of(path).said_about(subject).unwrap(), file(path));
        }
        for path in [
            "lock.yaml",
            "image/kernel",
            "../statement.sigstore.json",
            "rebuilds/../lock.yaml",
            // Below a file.
            "lock.yaml/x.sigstore.json",
            "rebuilds/me.json/x.sigstore.json",
        ] {
            assert!(of(path).said_about(subject).is_err(), "{path}");
        }
        assert!(of("statement.sigstore.json").said_about(Sha256::of("another")).is_err());
        assert!(release.said_about(subject).is_err());
        assert!(of("statement.sigstore.json").files().is_err());
    }

    #[test]
    fn nothing_leaves_an_index() {
        let release = Manifest::of_release(&[file("lock.yaml")]);
        let of = |content: &str| {
            let object = Object { sha256: Sha256::of(content), size: 1 };
            let file = File { path: "rebuilds/unnamed.sigstore.json".to_owned(), object };
            Manifest::referring(release.descriptor(), &file, BTreeMap::new()).in_index()
        };
        let mut index = Index::empty();
        assert!(index.put(of("agrees")));
        assert!(!index.put(of("agrees")));
        assert!(index.put(of("differs")));
        assert_eq!(Index::parse(&index.bytes()).unwrap().manifests, [of("agrees"), of("differs")]);
    }

    /// Others use the same index, with digests and fields that we do not know.
    #[test]
    fn what_others_attach_stays_as_it_is() {
        let theirs = format!(
            concat!(
                r#"{{"mediaType":"{}","digest":"sha512:{}","size":7,"#,
                r#""artifactType":"text/x","platform":{{"os":"linux","x":[1,null]}},"urls":["u"]}}"#
            ),
            MANIFEST,
            "ab".repeat(64)
        );
        let whole = format!(
            r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{theirs}],"subject":{theirs}}}"#
        );
        let mut index = Index::parse(whole.as_bytes()).unwrap();
        let ours = Manifest::of_release(&[file("a")]).descriptor();
        assert!(index.put(ours.clone()));
        let expected: Value = serde_json::from_str(&whole).unwrap();
        let mut found: Value = serde_json::from_slice(&index.bytes()).unwrap();
        let added = found["manifests"].as_array_mut().unwrap().pop();
        assert_eq!(added, serde_json::to_value(&ours).ok());
        assert_eq!(found, expected);
    }

    #[test]
    fn when_something_was_made_and_beside_what() {
        let of = |created: &str, beside: &str| {
            let annotations =
                [(CREATED, created), (BESIDE, beside)].map(|(key, it)| (key.into(), it.into()));
            let about = Manifest::of_release(&[]).descriptor();
            let manifest = Manifest::referring(about, &file("rebuilds/x.json"), annotations.into());
            (manifest.created().map(Time::as_unix), manifest.beside())
        };
        let digest = Sha256::of("x");
        let ours = format!("sha256:{digest}");
        assert_eq!(of("1970-01-01T00:00:09Z", &ours), (Some(9), Some(digest)));
        assert_eq!(of("1970-01-01T00:00:09.876Z", "sha512:00"), (Some(9), None));
        for odd in ["", "Z", "9", "1970-01-01T00:00:09+01:00", "1969-01-01T00:00:00Z", "1970-01-01"]
        {
            assert_eq!(of(odd, odd), (None, None), "{odd}");
        }
    }

    #[test]
    fn other_manifests_and_other_digests() {
        let good = String::from_utf8(Manifest::of_release(&[file("a")]).bytes()).unwrap();
        for (from, to) in [
            (r#""schemaVersion":2"#, r#""schemaVersion":1"#),
            (MANIFEST, INDEX),
            ("sha256:", "sha256+"),
            ("sha256:4", "sha256:A"),
        ] {
            assert!(Manifest::parse(good.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
        }
        // Another digest is in order, but not of what has to be fetched.
        let other = good.replace("sha256:", "sha512:");
        let other = Manifest::parse(other.as_bytes()).unwrap().files();
        assert!(matches!(other, Err(Error::Foreign { .. })));
        // Fields that we do not know are somebody else's business.
        assert!(Manifest::parse(good.replacen('{', r#"{"more":[1],"#, 1).as_bytes()).is_ok());
    }
}
