//! Pages of cartridges: complete, in order, whatever comes and goes between them.

use super::*;

fn three_kinds(folder: &Path) -> Meta {
    let mut meta = open(folder);
    meta.transaction(|tx| {
        install(tx, INSTALLATION)?;
        create_library(tx, &new_library("lib0", 1, 20, 2))?;
        create_library(tx, &new_library("lib1", 1, 20, 2))?;
        for (library, first, created_s) in
            [("lib0", "BBB001L8", 30), ("lib1", "AAA001L8", 20), ("lib0", "CCC001L8", 10)]
        {
            let new = NewCartridges {
                first: label(first),
                count: 3,
                library: Some(name(library)),
                place: NewPlace::Slot,
            };
            let ids = fresh_ids(tx, 3);
            create_cartridges(tx, &new, &ids, CAPACITY, created_s)?;
        }
        Ok::<_, LibraryError>(())
    })
    .unwrap();
    meta
}

fn labels(meta: &mut Meta, asked: &Select) -> Vec<String> {
    let found = meta.read(|tx| select(tx, asked)).unwrap();
    found.iter().map(|one| one.label.to_string()).collect()
}

/// All pages of two rows, one after the other.
fn pages(meta: &mut Meta, order: Order) -> Vec<String> {
    let mut asked = Select { order, most: Some(2), ..Select::default() };
    let mut all = Vec::new();
    loop {
        let found = meta.read(|tx| select(tx, &asked)).unwrap();
        let Some(last) = found.last() else { return all };
        asked.after = Some(order.key_of(last));
        all.extend(found.iter().map(|one| one.label.volume().to_owned()));
        assert!(all.len() < 20, "{all:?}");
    }
}

#[test]
fn pages_together_are_the_whole_list_in_each_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut meta = three_kinds(folder.path());
    let by_label = ["AAA001", "AAA002", "AAA003", "BBB001", "BBB002", "BBB003", "CCC001", "CCC002", "CCC003"];
    let by_time = ["CCC001", "CCC002", "CCC003", "AAA001", "AAA002", "AAA003", "BBB001", "BBB002", "BBB003"];
    for (by, expected) in [(By::Label, by_label), (By::Created, by_time), (By::Capacity, by_label)] {
        assert_eq!(pages(&mut meta, Order { by, down: false }), expected, "{by:?}");
        let mut reversed = expected;
        reversed.reverse();
        assert_eq!(pages(&mut meta, Order { by, down: true }), reversed, "{by:?}");
    }
}

#[test]
fn only_what_is_asked_for_is_found_and_never_what_is_being_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut meta = three_kinds(folder.path());
    meta.transaction(|tx| begin_remove(tx, label("BBB002L8"))).unwrap();
    let of = |library: &str| Select { library: Some(name(library)), ..Select::default() };
    assert_eq!(labels(&mut meta, &of("lib1")), ["AAA001L8", "AAA002L8", "AAA003L8"]);
    let prefix = Select { prefix: Some("BBB0".to_owned()), ..Select::default() };
    assert_eq!(labels(&mut meta, &prefix), ["BBB001L8", "BBB003L8"]);
    let odd = Select { prefix: Some("%' OR 1=1 --".to_owned()), ..Select::default() };
    assert_eq!(labels(&mut meta, &odd), [""; 0]);
    let vault = Select { place: Some("vault"), ..Select::default() };
    assert_eq!(labels(&mut meta, &vault), [""; 0]);
    let both =
        Select { place: Some("slot"), prefix: Some("C".to_owned()), most: Some(1), ..Select::default() };
    assert_eq!(labels(&mut meta, &both), ["CCC001L8"]);
    let nowhere = meta.read(|tx| select(tx, &of("lib9")));
    assert!(matches!(nowhere, Err(LibraryError::UnknownLibrary(_))), "{nowhere:?}");
}
