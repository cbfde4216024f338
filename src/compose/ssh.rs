//! A fault of Compose's own: where a `build.ssh` has a path, it cannot print the model as JSON (`invalid character ':' after
//! top-level value`, in 2.26 as in 2.40). In YAML it can. So the services that have one are found in its YAML, and a file that
//! takes the key away from them is added to the question.

use super::ProjectName;

/// Whether this error of Compose's is that fault: Go's words where a value cannot be written as JSON.
pub(crate) fn cannot_print_json(error: &str) -> bool {
    error.starts_with("json: ")
}

/// The project and a compose file that takes away every `build.ssh`, from what `config` printed in YAML. None where there is none.
pub(super) fn reset(yaml: &str) -> Option<(ProjectName, String)> {
    let name = yaml.lines().find_map(|line| line.strip_prefix("name: "))?;
    let lines = yaml.lines().skip_while(|line| *line != "services:").skip(1);
    let mut lines = lines.take_while(|line| line.starts_with(' ')).peekable();
    let mut service = "";
    let mut services = Vec::new();
    while let Some(line) = lines.next() {
        match line.strip_prefix("  ").filter(|key| !key.starts_with(' ')) {
            Some(key) => service = key.trim_end_matches(':'),
            // A mapping of this name is no list.
            None if line == "      ssh:" && lines.peek().is_some_and(|next| next.starts_with("        - ")) => {
                services.push(format!("{service}: {{build: {{ssh: !reset null}}}}"));
            }
            None => {}
        }
    }
    let name = ProjectName::new(name.trim_matches('"')).ok()?;
    (!services.is_empty()).then(|| (name, format!("services: {{{}}}", services.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_with_an_ssh_key_are_found_in_the_yaml() {
        let web = "services:\n  \"1\":\n    build:\n      ssh:\n        - 'default: /key'\n  \
                   web:\n    depends_on:\n      ssh:\n        condition: service_started\n  \
                   api:\n    build:\n      context: /x\n      ssh:\n        - 'default: /key'\n";
        let (name, file) =
            reset(&format!("name: shop\n{web}networks:\n  default:\n      ssh:\n        - x\n")).unwrap();
        assert_eq!(name.as_str(), "shop");
        let key = "{build: {ssh: !reset null}}";
        assert_eq!(file, format!("services: {{\"1\": {key}, api: {key}}}"));
        assert_eq!(reset("name: shop\nservices:\n  web:\n    image: x\n"), None);
    }
}
