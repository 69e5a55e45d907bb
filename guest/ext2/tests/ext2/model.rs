//! Any sequence of operations does what it does to a simple model, and leaves a clean file system.

use crate::{
    common::*,
    ops::{Pair, op},
};
use gnomon_ext2::MkfsOptions;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn random_operations_match_the_model(
        ops in prop::collection::vec(op(), 1..250),
        block_size in prop_oneof![Just(1024u32), Just(4096)],
        mib in prop_oneof![Just(1usize), Just(12)],
    ) {
        let options = MkfsOptions { block_size, ..MkfsOptions::default() };
        let mut pair = Pair::new(mkfs(mib << 20, &options));
        for op in &ops {
            pair.apply(op);
        }
        pair.compare();
        pair.fs.commit().unwrap();
        pair.compare();
        let Pair { fs, model, .. } = pair;
        let bytes = unmount(fs);
        assert_clean(&bytes);
        let mut pair = Pair::new(mount(bytes).unwrap());
        pair.model = model;
        pair.compare();
    }
}
