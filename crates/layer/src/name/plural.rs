//! English plurals, as far as URLs use them.

/// Nouns of which there is one only: they are neither collections nor actions.
const UNCOUNTABLE: [&str; 18] = [
    "access",
    "billing",
    "config",
    "configuration",
    "content",
    "data",
    "health",
    "history",
    "info",
    "information",
    "metadata",
    "profile",
    "progress",
    "schedule",
    "settings",
    "stats",
    "status",
    "usage",
];

/// Nouns that are the same for one and for many: a path that ends in one is a collection.
const COLLECTIVE: [&str; 12] = [
    "equipment",
    "evidence",
    "feedback",
    "hardware",
    "inventory",
    "media",
    "merchandise",
    "news",
    "series",
    "software",
    "species",
    "staff",
];

/// End in `s` and are singular, beyond what the rules for `ss`, `us` and `is` say.
const SINGULAR: [&str; 18] = [
    "alias",
    "atlas",
    "aws",
    "bias",
    "canvas",
    "chaos",
    "dns",
    "gas",
    "gps",
    "https",
    "ios",
    "kubernetes",
    "kudos",
    "lens",
    "os",
    "sms",
    "tls",
    "ws",
];

/// Plurals that no rule below gets right.
const IRREGULAR: [(&str, &str); 62] = [
    ("aliases", "alias"),
    ("analyses", "analysis"),
    ("appendices", "appendix"),
    ("atlases", "atlas"),
    ("axes", "axis"),
    ("bacteria", "bacterium"),
    ("biases", "bias"),
    ("caches", "cache"),
    ("calves", "calf"),
    ("canoes", "canoe"),
    ("canvases", "canvas"),
    ("children", "child"),
    ("cookies", "cookie"),
    ("crises", "crisis"),
    ("criteria", "criterion"),
    ("curricula", "curriculum"),
    ("diagnoses", "diagnosis"),
    ("ellipses", "ellipsis"),
    ("excuses", "excuse"),
    ("feet", "foot"),
    ("fungi", "fungus"),
    ("gases", "gas"),
    ("geese", "goose"),
    ("halves", "half"),
    ("headaches", "headache"),
    ("hooves", "hoof"),
    ("hypotheses", "hypothesis"),
    ("indices", "index"),
    ("knives", "knife"),
    ("leaves", "leaf"),
    ("lenses", "lens"),
    ("lives", "life"),
    ("loaves", "loaf"),
    ("matrices", "matrix"),
    ("memoranda", "memorandum"),
    ("men", "man"),
    ("menus", "menu"),
    ("mice", "mouse"),
    ("movies", "movie"),
    ("oases", "oasis"),
    ("oxen", "ox"),
    ("parentheses", "parenthesis"),
    ("people", "person"),
    ("phenomena", "phenomenon"),
    ("radii", "radius"),
    ("selves", "self"),
    ("shelves", "shelf"),
    ("shoes", "shoe"),
    ("stimuli", "stimulus"),
    ("syllabi", "syllabus"),
    ("synopses", "synopsis"),
    ("taxis", "taxi"),
    ("teeth", "tooth"),
    ("theses", "thesis"),
    ("thieves", "thief"),
    ("toes", "toe"),
    ("uses", "use"),
    ("vertices", "vertex"),
    ("wives", "wife"),
    ("wolves", "wolf"),
    ("women", "woman"),
    ("zombies", "zombie"),
];

/// Whether the word names a thing rather than something to do, though it is no plural.
pub(super) fn is_uncountable(word: &str) -> bool {
    UNCOUNTABLE.contains(&word)
}

/// Whether a path that ends in the word is a collection, though it is no plural.
pub(super) fn is_collective(word: &str) -> bool {
    COLLECTIVE.contains(&word)
}

/// The singular of a lowercase plural; `None` if the word is no plural.
pub(super) fn singular(word: &str) -> Option<String> {
    if is_uncountable(word) || is_collective(word) || SINGULAR.contains(&word) {
        return None;
    }
    if let Ok(index) = IRREGULAR.binary_search_by_key(&word, |(plural, _)| plural) {
        return Some(IRREGULAR[index].1.to_owned());
    }
    let cut = |letters: usize| word.get(..word.len() - letters).filter(|stem| stem.len() > 1);
    let stem = if word.ends_with("ies") {
        return if word.len() > 4 {
            cut(3).map(|stem| format!("{stem}y"))
        } else {
            cut(1).map(str::to_owned)
        };
    } else if word.ends_with("zzes") {
        cut(3)
    } else if ["sses", "shes", "ches", "xes", "oes"].iter().any(|ending| word.ends_with(ending))
        || word.ends_with("uses") && !word.ends_with("ouses") && !word.ends_with("auses")
    {
        cut(2)
    } else if ["ss", "us", "is"].iter().any(|ending| word.ends_with(ending)) || !word.ends_with('s') {
        None
    } else {
        cut(1)
    };
    stem.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{IRREGULAR, singular};

    #[test]
    fn the_table_is_sorted() {
        assert!(IRREGULAR.is_sorted());
    }

    #[test]
    fn plurals_become_singular() {
        let pairs = "orders order, statuses status, addresses address, categories category, boxes box, \
            people person, children child, movies movie, ties tie, batches batch, searches search, dishes dish, \
            quizzes quiz, sizes size, houses house, warehouses warehouse, buses bus, databases database, \
            purchases purchase, responses response, processes process, heroes hero, shoes shoe, indices index, \
            shelves shelf, drives drive, archives archive, schemas schema, photos photo, keys key, days day, \
            policies policy, classes class, taxes tax, analyses analysis, aliases alias, menus menu, caches cache, \
            invoices invoice, files file, leases lease, wives wife, \
            zombies zombie, radii radius, curricula curriculum, parentheses parenthesis, selves self, bases base, cases case, companies company, clauses clause";
        for pair in pairs.split(", ") {
            let (plural, expected) = pair.trim().split_once(' ').unwrap();
            assert_eq!(singular(plural).as_deref(), Some(expected), "{plural}");
        }
    }

    #[test]
    fn what_is_no_plural_stays() {
        for word in [
            "order",
            "status",
            "address",
            "analysis",
            "series",
            "news",
            "data",
            "login",
            "access",
            "process",
            "bus",
            "media",
            "inventory",
            "alias",
            "https",
            "s",
            "us",
            "",
        ] {
            assert_eq!(singular(word), None, "{word}");
        }
    }
}
