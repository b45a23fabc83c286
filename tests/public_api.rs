//! The public API as text, `tests/public_api.txt`, so that a change of it shows in the diff.
//!
//! ```sh
//! PUNCTUAL_BLESS=1 cargo test --test public_api
//! ```
//!
//! writes it anew. It is read from the sources: the lint `unreachable_pub` sees that whatever is
//! `pub` in them can be reached. Of macros only what is `pub` in their text is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{env, fs};

use punctual::Stats;
use quote::{ToTokens, quote};
use syn::{Attribute, Fields, ImplItem, Item, TraitItem, Type, Visibility};
use walkdir::WalkDir;

/// Members below what they belong to.
#[derive(Default)]
struct Api {
    lines: BTreeMap<String, BTreeSet<String>>,
    types: BTreeSet<String>,
    /// Impls of traits, with trait and type: shown if both are public.
    impls: Vec<(String, String, String)>,
    private_traits: BTreeSet<String>,
}

/// Tokens as they are usually written, in one line.
fn tidy(tokens: &impl ToTokens) -> String {
    let text = tokens.to_token_stream().to_string();
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for (from, to) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" < ", "<"),
        ("< ", "<"),
        (" >", ">"),
        (" ,", ","),
        (" :", ":"),
        ("& ", "&"),
        ("? ", "?"),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        ("->(", "-> ("),
        (",(", ", ("),
        (" ;", ";"),
        ("# [", "#["),
        (",>", ">"),
        (",)", ")"),
        (", }", " }"),
    ] {
        text = text.replace(from, to);
    }
    text.trim_end_matches(',').to_owned()
}

/// Those attributes that callers notice, each with a space before it.
fn visible(attributes: &[Attribute]) -> String {
    let names = ["cfg", "derive", "non_exhaustive", "must_use", "deprecated"];
    let kept = attributes.iter().filter(|it| names.iter().any(|name| it.path().is_ident(name)));
    kept.map(|attribute| " ".to_owned() + &tidy(attribute)).collect()
}

fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let text = attribute.to_token_stream().to_string();
        let is_for_tests = text.contains("test") || text.contains("fuzz") || text.contains("loom");
        attribute.path().is_ident("doc") && text.contains("hidden")
            || attribute.path().is_ident("cfg") && is_for_tests
    })
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn name_of(path: &Type) -> String {
    match path {
        Type::Path(path) => path.path.segments.last().expect("a name").ident.to_string(),
        Type::Reference(reference) => name_of(&reference.elem),
        _ => String::new(),
    }
}

impl Api {
    fn add(&mut self, header: String, member: String) {
        let members = self.lines.entry(header).or_default();
        if !member.is_empty() {
            members.insert(member);
        }
    }

    fn read(&mut self, module: &str, items: Vec<Item>) {
        for item in items {
            self.read_item(module, item);
        }
    }

    fn read_item(&mut self, module: &str, item: Item) {
        match item {
            Item::Mod(item) if !is_hidden(&item.attrs) => {
                if let Some((_, items)) = item.content {
                    self.read(module, items);
                }
            }
            Item::Use(item)
                if is_public(&item.vis) && !is_hidden(&item.attrs) && module.is_empty() =>
            {
                self.add("use".to_owned(), tidy(&item.tree));
            }
            Item::Struct(mut item) if is_public(&item.vis) && !is_hidden(&item.attrs) => {
                self.types.insert(format!("{module}{}", item.ident));
                let header = format!("{module}struct {}{}", item.ident, tidy(&item.generics));
                self.add(header.clone(), visible(&item.attrs).trim_start().to_owned());
                if let Fields::Named(fields) = &mut item.fields {
                    for field in fields.named.iter_mut().filter(|field| is_public(&field.vis)) {
                        field.attrs.clear();
                        self.add(header.clone(), tidy(field));
                    }
                }
            }
            Item::Enum(item) if is_public(&item.vis) => {
                self.types.insert(format!("{module}{}", item.ident));
                let header = format!("{module}enum {}{}", item.ident, tidy(&item.generics));
                self.add(header.clone(), visible(&item.attrs).trim_start().to_owned());
                for mut variant in item.variants {
                    variant.attrs.clear();
                    variant.fields.iter_mut().for_each(|field| field.attrs.clear());
                    self.add(header.clone(), tidy(&variant));
                }
            }
            Item::Trait(item) if is_public(&item.vis) => {
                self.types.insert(format!("{module}{}", item.ident));
                let supers = &item.supertraits;
                let header = format!("{module}trait {}: {}", item.ident, tidy(&quote!(#supers)));
                for member in item.items {
                    if let TraitItem::Fn(member) = member {
                        let kind = if member.default.is_some() { "provided " } else { "" };
                        self.add(header.clone(), kind.to_owned() + &tidy(&member.sig));
                    }
                }
            }
            Item::Trait(item) => drop(self.private_traits.insert(item.ident.to_string())),
            Item::Fn(item) if is_public(&item.vis) => {
                self.add(format!("{module}fn"), tidy(&item.sig));
            }
            Item::Impl(item) if !is_hidden(&item.attrs) => self.read_impl(module, item),
            Item::Macro(item) if !is_hidden(&item.attrs) => {
                let text = tidy(&item.mac.tokens);
                // Up to the body.
                for part in text.split("pub fn ").skip(1) {
                    let signature = part.split(" {").next().expect("there is text");
                    let name = item.ident.as_ref().map(ToString::to_string).unwrap_or_default();
                    self.add(format!("{module}macro {name}"), format!("fn {signature}"));
                }
            }
            _ => {}
        }
    }

    fn read_impl(&mut self, module: &str, item: syn::ItemImpl) {
        let (generics, of, bounds) = (&item.generics, &item.self_ty, &item.generics.where_clause);
        let name = format!("{module}{}", name_of(of));
        if let Some((_, of_trait, _)) = &item.trait_ {
            let line = tidy(&quote!(impl #generics #of_trait for #of #bounds));
            let of_trait = of_trait.segments.last().expect("a name").ident.to_string();
            self.impls.push((name, of_trait, line + &visible(&item.attrs)));
            return;
        }
        let header =
            module.to_owned() + &tidy(&quote!(impl #generics #of #bounds)) + &visible(&item.attrs);
        for member in item.items {
            match member {
                ImplItem::Fn(it) if is_public(&it.vis) && !is_hidden(&it.attrs) => {
                    self.add(header.clone(), tidy(&it.sig) + &visible(&it.attrs));
                }
                ImplItem::Const(it) if is_public(&it.vis) => {
                    self.add(header.clone(), tidy(&quote!(#it)));
                }
                _ => {}
            }
        }
    }

    fn text(mut self) -> String {
        for (of, of_trait, line) in std::mem::take(&mut self.impls) {
            if self.types.contains(&of) && !self.private_traits.contains(&of_trait) {
                let module = of.rsplit_once("::").map_or("", |(module, _)| module);
                self.add(format!("traits {module}").trim_end().to_owned(), line);
            }
        }
        let mut text = String::new();
        for (header, members) in self.lines {
            text += &format!("{header}\n");
            members.iter().for_each(|member| text += &format!("    {member}\n"));
        }
        text
    }
}

#[test]
fn the_public_api_is_the_recorded_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut api = Api::default();
    let files = WalkDir::new(root.join("src")).sort_by_file_name().into_iter();
    for file in files.map(|entry| entry.expect("it can be read").into_path()) {
        let name = file.strip_prefix(root).expect("it is below").to_string_lossy();
        let is_test = name.contains("tests") || name.contains("fuzz");
        if is_test || file.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let module = ["unsync", "original"].into_iter().find(|module| {
            file.starts_with(root.join("src").join(module))
                || name.ends_with(&format!("{module}.rs"))
        });
        let module = module.map_or(String::new(), |module| format!("{module}::"));
        let source = fs::read_to_string(&file).expect("it can be read");
        api.read(&module, syn::parse_file(&source).expect("it compiles").items);
    }
    for (field, kind, _) in Stats::default().fields() {
        api.add("fields of Stats".to_owned(), format!("{field}: {kind:?}"));
    }
    let (found, path) = (api.text(), root.join("tests/public_api.txt"));
    if env::var_os("PUNCTUAL_BLESS").is_some() {
        fs::write(&path, &found).expect("it can be written");
    }
    let recorded = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (recorded_lines, found_lines) = (lines(&recorded), lines(&found));
    let gone: Vec<_> = recorded_lines.difference(&found_lines).collect();
    let new: Vec<_> = found_lines.difference(&recorded_lines).collect();
    assert!(
        recorded == found,
        "the public API is not that of tests/public_api.txt: gone {gone:#?}, new {new:#?}\n\
         `PUNCTUAL_BLESS=1 cargo test --test public_api` records it"
    );
}
