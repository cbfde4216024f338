//! Finds the known name that is most similar to an unknown one. The only module that uses strsim.

/// The known name that may have been meant, give or take a third of its letters; none if nothing is like it.
pub(crate) fn similar<'k>(unknown: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let unknown = unknown.to_lowercase();
    let letters = unknown.chars().count();
    // Of one letter nothing is left to be like anything.
    let most = (letters.max(3) / 3).min(letters.saturating_sub(1));
    let mistakes = known.into_iter().map(|name| (strsim::osa_distance(&unknown, &name.to_lowercase()), name));
    let (_, name) = mistakes.filter(|(mistakes, _)| *mistakes <= most).min_by_key(|(mistakes, _)| *mistakes)?;
    Some(name)
}

/// The same as a next step, in cargo's words.
pub(crate) fn suggestion<'k>(kind: &str, unknown: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    Some(format!("a {kind} with a similar name exists: `{}`", similar(unknown, known)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_is_most_alike_is_suggested_and_none_that_is_not() {
        let known = ["api", "postgres", "web"];
        let meant = |unknown| similar(unknown, known);
        assert_eq!(meant("wbe"), Some("web"));
        assert_eq!(meant("postgress"), Some("postgres"));
        assert_eq!(meant("Web"), Some("web"));
        assert_eq!(meant("ap"), Some("api"));
        assert_eq!(meant("redis"), None);
        assert_eq!(meant(""), None);
        assert_eq!(similar("c", ["a"]), None);
        assert_eq!(similar("web", []), None);
        let words = suggestion("service", "wbe", known).unwrap();
        assert_eq!(words, "a service with a similar name exists: `web`");
    }
}
