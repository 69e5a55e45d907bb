//! Nice values as weights: one step of nice is about 10% of the processor, a factor of 1.25.

/// Weight of nice 0.
pub const NICE_0_WEIGHT: u32 = 1024;

/// Weights of nice -20 to 19: Linux's `sched_prio_to_weight`, so that shares are the same.
const WEIGHTS: [u32; 40] = [
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904,
    3906, 3121, 2501, 1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87,
    70, 56, 45, 36, 29, 23, 18, 15,
];

/// The weight of a nice value; values outside -20..=19 count as the nearest one inside.
pub fn nice_to_weight(nice: i8) -> u32 {
    WEIGHTS[(nice.clamp(-20, 19) + 20) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nice_0_has_the_weight_that_all_others_are_measured_by() {
        assert_eq!(nice_to_weight(0), NICE_0_WEIGHT);
    }

    #[test]
    fn weights_fall_as_nice_rises() {
        assert!(WEIGHTS.windows(2).all(|w| w[0] > w[1]));
    }

    #[test]
    fn nice_out_of_range_is_clamped() {
        assert_eq!(nice_to_weight(-100), 88761);
        assert_eq!(nice_to_weight(100), 15);
    }
}
