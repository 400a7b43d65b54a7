//! Tells bytes that no compressor makes smaller: archives, wheels, pictures, weights of models.
//!
//! Trying all of them costs as much time as compressing text does, and is for nothing. What is said
//! here decides how a layer is written, so it depends on the bytes alone, with whole numbers only:
//! the same layer has the same digest everywhere.

/// How many bytes of each place are tried. Two of them are an eighth of a gzip piece.
const WINDOW: usize = 64 << 10;

/// Whether a piece is most likely noise, as far as deflate can see.
///
/// First the counts of byte values, which rule out nearly everything else for a thousandth of the
/// cost; then `compressed_len` compresses a window at the start and one in the middle.
pub(super) fn is_noise(bytes: &[u8], mut compressed_len: impl FnMut(&[u8]) -> usize) -> bool {
    if bytes.len() < 2 * WINDOW || !is_flat(bytes) {
        return false;
    }
    let middle = bytes.len() / 2;
    [&bytes[..WINDOW], &bytes[middle..middle + WINDOW]]
        .iter()
        .all(|window| compressed_len(window) >= WINDOW - WINDOW / 100)
}

/// Whether all byte values are about as frequent: the chance that two bytes are equal is at most
/// 1.02 of 1/256.
fn is_flat(bytes: &[u8]) -> bool {
    let mut counts = [0u64; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    let equal: u128 = counts.iter().map(|count| u128::from(count * count)).sum();
    let all = bytes.len() as u128;
    equal * 256 * 100 <= all * all * 102
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: usize = 1 << 20;

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    fn deflated_len(bytes: &[u8]) -> usize {
        let mut deflate = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
        let mut out = vec![0; deflate.deflate_compress_bound(bytes.len())];
        deflate.deflate_compress(bytes, &mut out).unwrap()
    }

    #[test]
    fn noise_is_told_from_what_compresses() {
        let text = b"a stack of stones shows the way. ".repeat(PIECE / 33);
        // Noise that comes again is flat, and small once it is compressed.
        let again = noise(1, 16 << 10).repeat(PIECE >> 14);
        let mut mixed = noise(2, PIECE);
        mixed[PIECE / 2..].fill(b'x');
        let cases = [
            ("noise", noise(3, PIECE), true),
            ("text", text, false),
            ("noise again and again", again, false),
            ("half of it noise", mixed, false),
            ("noise too short to matter", noise(4, WINDOW), false),
            ("nothing", Vec::new(), false),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(is_noise(&bytes, deflated_len), expected, "{name}");
        }
    }
}
