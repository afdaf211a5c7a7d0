//! Names for services that were given none: an adjective and a noun, drawn by random bits. Pure.

/// How a service may be.
const ADJECTIVES: [&str; 64] = [
    "amber", "ample", "autumn", "azure", "bold", "brave", "breezy", "bright", "brisk", "calm", "candid", "cheery",
    "clever", "cosy", "crisp", "daring", "dawn", "deft", "eager", "early", "fair", "fleet", "fond", "frosty",
    "gentle", "gilded", "glad", "golden", "hardy", "hazel", "honest", "humble", "jolly", "keen", "kind", "lively",
    "loyal", "lucid", "lucky", "mellow", "merry", "mild", "misty", "modest", "neat", "nimble", "noble", "patient",
    "placid", "plucky", "proud", "quick", "quiet", "rustic", "sage", "serene", "silver", "steady", "sunny", "tidy",
    "velvet", "vivid", "warm", "witty",
];

/// What lives around a hive.
const NOUNS: [&str; 64] = [
    "acacia", "alder", "apiary", "aster", "badger", "barley", "basil", "beech", "birch", "borage", "bramble", "brook",
    "bumblebee", "burrow", "cedar", "chestnut", "clover", "comb", "cowslip", "daisy", "dandelion", "drone", "elder",
    "fennel", "fern", "finch", "forager", "foxglove", "garden", "hawthorn", "hazelnut", "heather", "hedge", "honey",
    "hornbeam", "ivy", "juniper", "keeper", "larch", "lavender", "linden", "lupin", "mallow", "maple", "marjoram",
    "meadow", "nectar", "orchard", "pasture", "pollen", "poppy", "primrose", "propolis", "rosemary", "rowan", "sorrel",
    "sparrow", "thistle", "thyme", "valley", "violet", "wax", "willow", "yarrow",
];

/// The name that random bits draw. Its end makes it as good as unique: the words are for people.
pub(crate) fn name(bits: u128) -> String {
    let pick = |words: &[&'static str; 64], shift: u32| {
        let index = usize::try_from((bits >> shift) % 64).expect("below the number of words");
        words[index]
    };
    let end = (bits >> 32) % 10_000;
    format!("{}_{}_{end}", pick(&ADJECTIVES, 0), pick(&NOUNS, 16))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use skep_proto::model::ServiceName;

    use super::*;

    proptest! {
        #[test]
        fn every_name_is_a_service_name(bits: u128) {
            prop_assert!(ServiceName::new(name(bits)).is_ok());
        }
    }

    #[test]
    fn no_word_stands_twice() {
        let words: BTreeSet<&str> = ADJECTIVES.into_iter().chain(NOUNS).collect();
        assert_eq!(words.len(), 128);
    }
}
