//! The first items of a list, and the number of all.

use crate::json::{JsonError, Scanner};

/// Reads at most `max` items of the list that `scanner` has reached, skips the others, and counts them all. Parsed, a
/// list of `{}` takes twenty times its bytes in memory, which a wasm module never returns; the skipped items lie far
/// beyond the last cell.
pub(super) fn list<'a, T>(
    scanner: &mut Scanner<'a>,
    max: usize,
    read: impl Fn(&mut Scanner<'a>) -> Result<T, JsonError>,
) -> Result<(Vec<T>, usize), JsonError> {
    let mut items = Vec::new();
    let mut total = 0;
    scanner.open_list()?;
    while scanner.has_item()? {
        if items.len() < max {
            items.push(read(scanner)?);
        } else {
            scanner.skip()?;
        }
        total += 1;
    }
    Ok((items, total))
}

#[cfg(test)]
mod tests {
    use super::list;
    use crate::json::Scanner;

    #[test]
    fn items_beyond_the_bound_are_counted_and_not_kept() {
        let read = |json: &str| list(&mut Scanner::new(json.as_bytes()), 3, Scanner::number);
        let numbers = |numbers: &[u64]| numbers.iter().copied().map(Some).collect::<Vec<_>>();
        assert_eq!(read("[]").unwrap(), (vec![], 0));
        assert_eq!(read("[1,2,3]").unwrap(), (numbers(&[1, 2, 3]), 3));
        assert_eq!(read("[1,2,3,4,\"5\"]").unwrap(), (numbers(&[1, 2, 3]), 5));
        assert!(read("[1,\"2\"]").is_err());
        assert!(read("[1,2,3,4").is_err());
        assert!(read("{}").is_err());
    }
}
