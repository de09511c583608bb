//! What a program writes into a page of documentation, between two markers.

use anyhow::{Context, Result};

/// The page with another text between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->`.
///
/// # Errors
/// If it lacks one of them.
pub fn replaced(page: &str, name: &str, section: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let parts = || {
        let (before, rest) = page.split_once(&begin)?;
        Some((before, rest.split_once(&end)?.1))
    };
    let (before, behind) = parts().with_context(|| format!("the page lacks `{begin}` or, behind it, `{end}`"))?;
    Ok(format!("{before}{begin}\n{section}{end}{behind}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BEGIN: &str = "<!-- it: begin -->";
    const END: &str = "<!-- it: end -->";

    #[test]
    fn only_what_is_between_the_markers_is_replaced() {
        let page = format!("# A\n\n{BEGIN}\nold\n{END}\n\n# B\n");
        assert_eq!(replaced(&page, "it", "new\n").unwrap(), format!("# A\n\n{BEGIN}\nnew\n{END}\n\n# B\n"));
        assert!(replaced("# A", "it", "new").is_err());
        assert!(replaced(&format!("{END}{BEGIN}"), "it", "new").is_err());
        assert!(replaced(&page, "another", "new").is_err());
    }
}
