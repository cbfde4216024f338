//! Archives, read back.

use std::fs;

use tempfile::TempDir;

use super::*;

fn image(program: &str) -> (TempDir, Image) {
    let dir = tempfile::tempdir().unwrap();
    let binary = dir.path().join("built");
    fs::write(&binary, program).unwrap();
    let image = Image {
        name: "shop-api".to_string(),
        labels: BTreeMap::from([("com.docker.compose.project".to_string(), "shop".to_string())]),
        architecture: "amd64".to_string(),
        binary,
        bin: "api".to_string(),
        writable: BTreeSet::new(),
        owner: None,
        runtime: Runtime::default(),
        supervision: None,
    };
    (dir, image)
}

fn archive(image: &Image) -> (String, Vec<u8>) {
    let mut archive = io::Cursor::new(Vec::new());
    (image.write(&mut archive).unwrap(), archive.into_inner())
}

/// The files of an archive, by path: kind, mode, owner, time and content.
type Files = BTreeMap<String, (EntryType, u32, (u64, u64), u64, Vec<u8>)>;

fn files(archive: &[u8]) -> Files {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let header = entry.header();
        let owner = (header.uid().unwrap(), header.gid().unwrap());
        (path, (header.entry_type(), header.mode().unwrap(), owner, header.mtime().unwrap(), content))
    });
    entries.collect()
}

#[test]
fn an_archive_holds_a_manifest_the_configuration_and_a_layer() {
    let (_dir, image) = image("a program");
    let (digest, archive) = archive(&image);
    assert_eq!(archive.len() % 512, 0);
    let outer = files(&archive);
    let json = |path: &str| -> Value { serde_json::from_slice(&outer[path].4).unwrap() };
    let manifest = json("manifest.json");
    assert_eq!(manifest[0]["RepoTags"], json!(["shop-api:latest"]));
    let config = manifest[0]["Config"].as_str().unwrap();
    assert_eq!(config, format!("{}.json", sha256(&outer[config].4)));
    let layers: Vec<&str> = manifest[0]["Layers"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let layer = layers[1];
    let config = json(config);
    let ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", sha256(&outer[*layer].4))).collect();
    assert_eq!(config["rootfs"]["diff_ids"], json!(ids));
    assert_eq!(config["architecture"], "amd64");
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Labels"], json!({"com.docker.compose.project": "shop", DIGEST_LABEL: digest}));

    let inner = files(&outer[layer].4);
    let directory = |owner| (EntryType::Directory, 0o755, owner, 0, Vec::new());
    let expected = Files::from([
        ("usr/".to_string(), directory((0, 0))),
        ("usr/local/".to_string(), directory((0, 0))),
        ("usr/local/bin/".to_string(), directory((0, 0))),
        ("usr/local/bin/api".to_string(), (EntryType::Regular, 0o755, (0, 0), 0, b"a program".to_vec())),
    ]);
    assert_eq!(inner, expected);
}

#[test]
fn mount_points_belong_to_the_user_and_their_parents_to_root() {
    let (_dir, mut image) = image("");
    image.writable = ["/data", "/var/lib/shop", "/usr/local"].map(str::to_string).into();
    let owners = |image: &Image| -> BTreeMap<String, (u64, u64)> {
        let outer = files(&archive(image).1);
        let layers = outer.iter().filter(|(path, _)| path.ends_with("layer.tar"));
        layers.flat_map(|(_, layer)| files(&layer.4)).map(|(path, file)| (path, file.2)).collect()
    };
    let user = (65532, 65532);
    let expected = [
        ("data/", user),
        ("usr/", (0, 0)),
        ("usr/local/", user),
        ("usr/local/bin/", (0, 0)),
        ("usr/local/bin/api", (0, 0)),
        ("var/", (0, 0)),
        ("var/lib/", (0, 0)),
        ("var/lib/shop/", user),
    ];
    assert_eq!(owners(&image), expected.map(|(path, owner)| (path.to_string(), owner)).into());
    image.owner = Some((7, 8));
    assert_eq!(owners(&image)["data/"], (7, 8));
}

#[test]
fn the_same_inputs_give_the_same_bytes_and_others_another_digest() {
    let (_one, first) = image("a program");
    let (_two, second) = image("a program");
    assert_eq!(archive(&first), archive(&second), "the place of the program does not count");
    let (_three, other) = image("a programme");
    let digest = |image: &Image| archive(image).0;
    assert_ne!(digest(&first), digest(&other));
    assert_eq!(first.settings(), other.settings());
    let mut renamed = first.clone();
    renamed.bin = "web".to_string();
    assert_ne!(digest(&first), digest(&renamed));
    assert_ne!(first.settings(), renamed.settings());
}

/// A program that is built again while it is read: a write to it changes it.
#[test]
fn a_program_that_is_built_again_meanwhile_is_an_error() {
    struct Builds<'a>(io::Cursor<Vec<u8>>, &'a Path);

    impl Write for Builds<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if bytes.starts_with(b"a program") {
                fs::write(self.1, "another program").unwrap();
            }
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Builds<'_> {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    let (dir, image) = image("a program");
    let built = dir.path().join("built");
    let error = image.write(&mut Builds(io::Cursor::default(), &built)).unwrap_err();
    assert!(error.to_string().ends_with("was built again meanwhile"), "{error}");
}

#[test]
fn a_name_has_a_tag() {
    for (name, tag) in [
        ("shop-api", "shop-api:latest"),
        ("shop:1", "shop:1"),
        ("localhost:5000/shop", "localhost:5000/shop:latest"),
        ("localhost:5000/shop:1", "localhost:5000/shop:1"),
    ] {
        assert_eq!(tagged(name), tag);
    }
}
