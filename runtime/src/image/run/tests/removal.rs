//! Names, pins and removal.

use super::*;

fn image(fixture: &Fixture, content: &[u8], name: &str) -> Image {
    fixture.import(&Tar::new().file("a", content).finish(), name).unwrap()
}

#[test]
fn last_name_takes_the_image_with_it() {
    let mut fixture = Fixture::new();
    let web = image(&fixture, b"web", "web");
    fixture.store.tag("web", "web:two").unwrap();
    assert_eq!(fixture.store.remove("web", false).unwrap(), ["Untagged: web:latest"]);
    let lines = fixture.store.remove("web:two", false).unwrap();
    let layer = format!("Deleted: sha256:{}", web.layers[0].file_name().unwrap().to_str().unwrap());
    assert_eq!(lines, ["Untagged: web:two".to_owned(), format!("Deleted: {}", web.id), layer]);
    assert_eq!((fixture.count("layers"), fixture.count("configs")), (0, 0));
    wait_until("tmp is empty", || fixture.count("tmp") == 0);
    fixture.reopen();
    assert!(fixture.store.list().is_empty());
}

#[test]
fn shared_layer_stays_with_the_other_image() {
    let fixture = Fixture::new();
    image(&fixture, b"same", "one");
    let config = ImageConfig { cmd: vec!["other".to_owned()], ..ImageConfig::default() };
    let tar = Tar::new().file("a", b"same").finish();
    let two = fixture.store.import(&mut &tar[..], "two", config).unwrap();
    assert_eq!(fixture.store.remove("one", false).unwrap().len(), 2, "name and image, but no layer");
    assert_eq!(fixture.store.pin("two", "c").unwrap(), two);
}

#[test]
fn id_with_several_names_must_be_forced() {
    let fixture = Fixture::new();
    let id = image(&fixture, b"a", "web").id;
    fixture.store.tag("web", "web:two").unwrap();
    assert!(matches!(fixture.store.remove(&id, false), Err(ImageError::MustForce { references: 2, .. })));
    let lines = fixture.store.remove(&id[7..19], true).unwrap();
    assert_eq!(lines[..2], ["Untagged: web:latest", "Untagged: web:two"]);
    assert!(fixture.store.list().is_empty());
}

#[test]
fn image_in_use_loses_its_name_at_most() {
    let fixture = Fixture::new();
    let web = fixture.store.pin(&image(&fixture, b"a", "web").id, "container-1").unwrap();
    for text in ["web", &web.id] {
        let error = fixture.store.remove(text, false).unwrap_err();
        assert!(matches!(&error, ImageError::InUse { user, .. } if user == "container-1"), "{error}");
    }
    assert_eq!(fixture.store.remove("web", true).unwrap(), ["Untagged: web:latest"]);
    assert!(
        matches!(fixture.store.remove(&web.id, true), Err(ImageError::InUse { .. })),
        "there is no name left to take"
    );
    assert!(web.layers[0].exists());
    fixture.store.unpin("container-1");
    fixture.store.unpin("nobody");
    assert_eq!(fixture.store.remove(&web.id, false).unwrap().len(), 2);
    assert!(!web.layers[0].exists());
}

#[test]
fn name_in_use_can_go_while_another_stays() {
    let fixture = Fixture::new();
    image(&fixture, b"a", "web");
    fixture.store.tag("web", "web:two").unwrap();
    fixture.store.pin("web", "c").unwrap();
    assert_eq!(fixture.store.remove("web:two", false).unwrap(), ["Untagged: web:two"]);
}

#[test]
fn pins_are_taken_again_after_a_restart() {
    let mut fixture = Fixture::new();
    let web = image(&fixture, b"a", "web");
    fixture.reopen();
    assert!(fixture.store.repin(&web.id, "c"));
    assert!(!fixture.store.repin(&format!("sha256:{}", "0".repeat(64)), "c"));
    assert!(matches!(fixture.store.remove("web", false), Err(ImageError::InUse { .. })));
}

#[test]
fn name_moves_to_the_newer_image() {
    let fixture = Fixture::new();
    let old = image(&fixture, b"old", "web");
    let new = image(&fixture, b"new", "web");
    let listed: Vec<(String, usize)> =
        fixture.store.list().iter().map(|image| (image.id.clone(), image.references.len())).collect();
    assert_eq!(listed, [(new.id.clone(), 1), (old.id, 0)], "the one without a name comes last");
    assert_eq!(fixture.store.get("web").unwrap().id, new.id);
}

#[test]
fn prefix_of_several_ids_is_ambiguous() {
    let fixture = Fixture::new();
    let mut seen = BTreeMap::new();
    let shared = (0_u32..2_000).find_map(|number| {
        let id = image(&fixture, &number.to_le_bytes(), "web").id;
        let prefix = id[7..9].to_owned();
        seen.insert(prefix.clone(), id).map(|_| prefix)
    });
    let error = fixture.store.get(&shared.unwrap()).unwrap_err();
    assert!(matches!(error, ImageError::Ambiguous { matches: 2, .. }), "{error}");
}

#[test]
fn hello_comes_back_after_its_removal() {
    let Some(()) = root_or_skip("hello belongs to root") else { return };
    let fixture = Fixture::new();
    let first = fixture.store.pin("skep/hello", "c").unwrap();
    assert!(matches!(fixture.store.remove("skep/hello", false), Err(ImageError::InUse { .. })));
    fixture.store.unpin("c");
    assert_eq!(fixture.store.remove("skep/hello", false).unwrap().len(), 3);
    assert!(fixture.store.list().is_empty());
    assert_eq!(fixture.store.get("skep/hello").unwrap(), first);
}

#[test]
fn hello_of_an_earlier_boot_is_made_anew() {
    let Some(()) = root_or_skip("hello belongs to root") else { return };
    let mut fixture = Fixture::new();
    let first = fixture.store.get("skep/hello").unwrap();
    let index = fixture.directory.path().join("images/index.json");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(&index, fs::read_to_string(&index).unwrap().replace(boot.trim(), "earlier")).unwrap();
    fs::write(first.layers[0].join("skep"), b"torn").unwrap();
    fixture.reopen();
    assert_eq!(fixture.store.pin(&first.id, "c").unwrap(), first);
    assert_eq!(fs::read(first.layers[0].join("skep")).unwrap(), b"#!program one");
}

#[test]
fn index_of_a_newer_version_is_not_touched() {
    let fixture = Fixture::new();
    image(&fixture, b"a", "web");
    let index = fixture.directory.path().join("images/index.json");
    fs::write(&index, fs::read_to_string(&index).unwrap().replace("\"version\": 1", "\"version\": 2")).unwrap();
    let error = ImageStore::open(fixture.directory.path(), Path::new("/x")).unwrap_err();
    assert!(matches!(error, ImageError::Index { .. }), "{error}");
    assert_eq!((fixture.count("layers"), fixture.count("configs")), (1, 1));
}
