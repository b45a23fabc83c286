//! Imports point down: the files of `src` import each other in no circle.
//!
//! Tests, fuzz bodies and loom models may look wherever they like. What a room shows to
//! the outside (`pub use`) is not something that it depends on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use quote::ToTokens;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility};

/// A path of names below the crate's root.
type Names = Vec<String>;

/// The modules that have a file, and the paths that each file names.
#[derive(Default)]
struct Crate {
    files: BTreeMap<Names, PathBuf>,
    paths: Vec<(Names, Names)>,
}

/// Walks one file.
struct File<'a> {
    library: &'a mut Crate,
    /// Where the file's own modules lie.
    folder: PathBuf,
    module: Names,
    /// The inline modules around what is looked at.
    inline: Names,
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let text = attribute.to_token_stream().to_string();
        attribute.path().is_ident("cfg") && (text.contains("test") || text.contains("fuzzing"))
    })
}

impl Crate {
    fn read(&mut self, file: &Path, folder: PathBuf, module: Names) {
        let source = fs::read_to_string(file).expect("the file of a module");
        self.files.insert(module.clone(), file.to_owned());
        let syntax = syn::parse_file(&source).expect("it compiles");
        File { library: self, folder, module, inline: Names::new() }.visit_file(&syntax);
    }

    /// The file that a path leads to.
    fn file_of(&self, path: &[String]) -> &Path {
        let file = (0..=path.len()).rev().find_map(|length| self.files.get(&path[..length]));
        file.expect("the root, if nothing else")
    }
}

impl File<'_> {
    /// Notes a path that starts at `crate`, `super`, `self` or a module of this file.
    fn note(&mut self, path: &[String]) {
        let here = [&*self.module, &*self.inline].concat();
        let mut target = here.clone();
        for name in path {
            match name.as_str() {
                "crate" => target.clear(),
                "self" => {}
                "super" => drop(target.pop()),
                // Of a sibling's file, or of no module: then the path leads back to this one.
                _ => target.push(name.clone()),
            }
        }
        self.library.paths.push((here, target));
    }

    fn note_tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.note_tree(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.note_tree(tree, before));
            }
            UseTree::Name(name) => self.note(&with(&name.ident)),
            UseTree::Rename(rename) => self.note(&with(&rename.ident)),
            UseTree::Glob(_) => self.note(before),
        }
    }
}

impl<'ast> Visit<'ast> for File<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let name = item.ident.to_string();
        if item.content.is_some() {
            self.inline.push(name);
            visit::visit_item_mod(self, item);
            self.inline.pop();
            return;
        }
        let module = [&*self.module, std::slice::from_ref(&name)].concat();
        let (plain, folder) = (self.folder.join(format!("{name}.rs")), self.folder.join(&name));
        let file = if plain.is_file() { plain } else { folder.join("mod.rs") };
        self.library.read(&file, folder, module);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if !matches!(item.vis, Visibility::Public(_)) {
            self.note_tree(&item.tree, &[]);
        }
    }

    /// `pub(in crate::cache)` says who may look in, not what is looked at.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names[0] == "crate" || names[0] == "super" {
            self.note(&names);
        }
        visit::visit_path(self, path);
    }
}

#[test]
fn imports_make_no_circle() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut library = Crate::default();
    library.read(&source.join("lib.rs"), source.clone(), Names::new());

    let mut imports = DiGraphMap::<&Path, ()>::new();
    for (from, to) in &library.paths {
        let (from, to) = (library.file_of(from), library.file_of(to));
        if from != to {
            imports.add_edge(from, to, ());
        }
    }
    assert!(imports.node_count() > 30 && imports.edge_count() > 100, "too little was read");
    let circles: Vec<_> = tarjan_scc(&imports).into_iter().filter(|it| it.len() > 1).collect();
    assert!(circles.is_empty(), "these import each other: {circles:#?}");
    let root = source.join("lib.rs");
    let upwards: Vec<_> = imports.neighbors_directed(&*root, petgraph::Incoming).collect();
    assert!(upwards.is_empty(), "these import from lib.rs, which imports them: {upwards:#?}");
}

#[test]
fn the_source_has_few_rooms() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let names = fs::read_dir(source).expect("the folder").count();
    assert!(names <= 17, "{names} names in src");
}
