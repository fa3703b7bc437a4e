//! Tiles: their paths, and directories of them around the sizes where tiles become full.

use counterfoil::log::checkpoint::Checkpoint;
use counterfoil::log::edge::Edge;
use counterfoil::log::reader::Reader;
use counterfoil::log::tile::{self, Content, Malformed, Tile};
use counterfoil::log::tree::Tree;
use counterfoil::log::{merkle, prove, verify};

use crate::naive::{self, Naive};
use crate::place::{Keeper, entry};

#[test]
fn paths_are_those_of_the_specification() {
    let path = |content, index, width| Tile { content, index, width }.to_string();
    assert_eq!(path(Content::Hashes(0), 1_234_067, 256), "tile/0/x001/x234/067");
    assert_eq!(path(Content::Hashes(1), 0, 17), "tile/1/000.p/17");
    assert_eq!(path(Content::Entries, 273, 112), "tile/entries/273.p/112");
    assert_eq!(path(Content::Entries, 1000, 256), "tile/entries/x001/000");
    for good in ["tile/0/x001/x234/067", "tile/63/000.p/255", "tile/entries/x001/000.p/1"] {
        assert_eq!(good.parse::<Tile>().unwrap().to_string(), good);
    }
    for bad in [
        "tile/0/67",
        "tile/0/0067",
        "tile/0/001/067",
        "tile/0/x067",
        "tile/0/x000/067",
        "tile/64/000",
        "tile/00/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/",
        "tile/0/x18446744073709551615/x999/999",
        "tile/entries",
        "tile/0/+01",
        "/tile/0/000",
        "tile/0/000/",
    ] {
        assert_eq!(bad.parse::<Tile>(), Err(Malformed::Path(bad.to_owned())));
    }
}

/// tlog-tiles, Partial Tiles: "a tree of size 70,000 will be represented by …"
#[test]
fn a_tree_has_the_tiles_of_the_specification() {
    let count = |size, content, full| {
        let tiles =
            Tile::all(size).filter(|tile| tile.content == content && tile.is_full() == full);
        tiles.map(|tile| tile.width).collect::<Vec<_>>()
    };
    assert_eq!(count(70_000, Content::Hashes(0), true).len(), 273);
    assert_eq!(count(70_000, Content::Entries, true).len(), 273);
    assert_eq!(count(70_000, Content::Hashes(0), false), [112]);
    assert_eq!(count(70_000, Content::Hashes(1), true).len(), 1);
    assert_eq!(count(70_000, Content::Hashes(1), false), [17]);
    assert_eq!(count(70_000, Content::Hashes(2), false), [1]);
    assert_eq!(count(70_000, Content::Hashes(3), false), [0; 0]);
    let of_256: Vec<_> = Tile::all(256).map(|tile| tile.to_string()).collect();
    assert_eq!(of_256, ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(Tile::all(0).count(), 0);
    assert_eq!(Tile::of(Content::Hashes(0), u64::MAX, u64::MAX), None);
}

#[test]
fn an_entry_has_at_most_65535_bytes() {
    let mut bundle = Vec::new();
    tile::push(&mut bundle, &[7; 65535]).unwrap();
    assert_eq!(tile::push(&mut bundle, &[7; 65536]), Err(Malformed::Entry(65536)));
    let one = Tile { content: Content::Entries, index: 0, width: 1 };
    assert_eq!(one.entries(&bundle).unwrap(), [&[7; 65535]]);
    assert!(one.entries(&bundle[..65536]).is_err(), "cut off");
    assert!(one.entries(&[&bundle[..], &[0]].concat()).is_err(), "something behind it");
    assert!(Tile { width: 2, ..one }.entries(&bundle).is_err());
}

/// At every size, the edge alone knows the root, and all that was written is what its path says.
#[test]
fn an_edge_grows_as_the_tree_does() {
    let (mut edge, mut naive) = (Edge::default(), Naive::default());
    let mut written = std::collections::BTreeMap::new();
    for index in 0..66_000_usize {
        naive.push(&entry(index));
        let old = edge.size();
        edge.push(&entry(index), |tile, bytes| -> Result<(), Malformed> {
            assert!(tile.is_full());
            assert!(written.insert(tile.to_string(), bytes.to_vec()).is_none(), "{tile} twice");
            Ok(())
        })
        .unwrap();
        let size = index + 1;
        if size < 600 || size % 256 < 2 || size > 65_530 && size < 65_540 {
            assert_eq!(edge.root(), naive.root(size), "{size}");
            for (tile, bytes) in edge.partial(old) {
                assert_eq!(Tile::of(tile.content, tile.index, edge.size()), Some(tile));
                written.insert(tile.to_string(), bytes);
            }
        }
    }
    for tile in Tile::all(66_000).filter(Tile::is_full) {
        let bytes = written.remove(&tile.to_string()).unwrap();
        match tile.content {
            Content::Entries => drop(tile.entries(&bytes).unwrap()),
            Content::Hashes(_) => drop(tile.hashes(&bytes).unwrap()),
        }
    }
    assert!(written.keys().all(|path| path.contains(".p/")), "{:?}", written.keys());
}

/// Directories at the sizes where something becomes full, made in one batch, and grown over the boundary.
#[test]
fn directories_around_the_boundaries() {
    let mut naive = Naive::default();
    (0..65_540).for_each(|index| naive.push(&entry(index)));
    let keeper = Keeper::new();
    let mut seen: Vec<Checkpoint> = Vec::new();
    for size in [1_usize, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537] {
        let from = seen.last().map_or(0, |last| usize::try_from(last.size).unwrap());
        let appended = keeper.append((from..size).map(entry));
        assert_eq!((appended.first, appended.count), (from as u64, (size - from) as u64));
        assert_eq!(naive::head(&keeper.log()), (size, naive.root(size)));
        assert_eq!(naive::entries(&keeper.log(), 0, size).len(), size);

        let reader = Reader::directory(&keeper.log());
        let note = reader.checkpoint().unwrap();
        let head = Checkpoint::parse(&note.text).unwrap();
        let mut tree = Tree::open(&reader, &head).unwrap();
        assert_eq!(verify::files(&mut tree, |_| ()).unwrap(), []);
        for index in [0, size / 2, size - 1] {
            let proof = prove::inclusion(&mut tree, &note, index as u64).unwrap();
            assert_eq!(proof.hashes, naive.path(index, 0, size));
            assert_eq!(prove::entry(&mut tree, index as u64).unwrap(), entry(index));
            let leaf = merkle::leaf(&entry(index));
            assert_eq!(prove::find(&mut tree, leaf).unwrap(), Some(index as u64));
        }
        for old in &seen {
            assert_eq!(verify::goes_on(&mut tree, &head, old, "old").unwrap(), None);
        }
        seen.push(head);
    }
    // Partial tiles are gone where the full ones are.
    assert!(keeper.log().join("tile/entries/000").exists());
    assert!(!keeper.log().join("tile/entries/000.p").exists());
    // Whoever has an older checkpoint finds what he needs in the full ones.
    let reader = Reader::directory(&keeper.log());
    for old in &seen {
        let mut tree = Tree::open(&reader, old).unwrap();
        assert_eq!(verify::files(&mut tree, |_| ()).unwrap(), [], "{}", old.size);
    }
}
