//! Bundles in memory, and those that another program made.
#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use vtl_bundle::{Manifest, Signed, Sink, Source, Stored, counting};
use vtl_codec::PrivateKey;

/// A folder of objects.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    pub objects: BTreeMap<String, Vec<u8>>,
    /// What the writer said of each, in order.
    pub told: Vec<Stored>,
    open: Option<String>,
}

impl Sink for Folder {
    fn begin(&mut self, name: &str) -> io::Result<()> {
        assert!(self.open.is_none(), "one at a time");
        assert!(self.objects.insert(name.to_owned(), Vec::new()).is_none(), "{name} twice");
        self.open = Some(name.to_owned());
        Ok(())
    }

    fn write(&mut self, bytes: &Bytes) -> io::Result<()> {
        self.objects.get_mut(self.open.as_ref().unwrap()).unwrap().extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self, object: &Stored) -> io::Result<()> {
        assert_eq!(self.open.take().as_ref(), Some(&object.name));
        self.told.push(object.clone());
        Ok(())
    }
}

impl Source for &Folder {
    type Object = Cursor<Vec<u8>>;

    fn open(&mut self, name: &str) -> io::Result<Self::Object> {
        self.objects.get(name).cloned().map(Cursor::new).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Folder {
    pub fn read(path: &Path) -> Self {
        let mut folder = Self::default();
        for entry in std::fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            folder.objects.insert(name, std::fs::read(entry.path()).unwrap());
        }
        folder
    }

    pub fn manifest(&self) -> (Manifest, Signed) {
        let named = self.objects.iter().find(|(name, _)| name.ends_with(".manifest"));
        let new = self.objects.iter().find(|(name, _)| name.ends_with(".manifest.new"));
        let bytes = counting(named.map(|(_, bytes)| bytes), new.map(|(_, bytes)| bytes));
        Manifest::decode(bytes.unwrap(), None).unwrap()
    }
}

/// A bundle of `tests/vectors`.
pub struct Vector {
    pub home: PathBuf,
    pub folder: Folder,
    pub manifest: Manifest,
    pub signed: Signed,
    /// For the first recipient.
    pub key: Option<PrivateKey>,
    pub expected: serde_json::Value,
}

pub const VECTORS: [&str; 7] =
    ["lz4-plain", "marks-only", "none-plain", "none-sealed", "replaced", "zstd-sealed", "zstd-several"];

pub fn vector(name: &str) -> Vector {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
    let folder = Folder::read(&home.join("VTL001L8-20261126_031500"));
    let (manifest, signed) = folder.manifest();
    let key = std::fs::read(home.join("made-up-key-1.pem")).ok();
    let key = key.map(|pem| PrivateKey::from_pem(&pem).unwrap());
    let expected = serde_json::from_slice(&std::fs::read(home.join("expected.json")).unwrap()).unwrap();
    Vector { home, folder, manifest, signed, key, expected }
}
