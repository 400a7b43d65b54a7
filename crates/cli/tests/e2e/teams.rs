//! What teams hold their own images to: every package that was asked for can be used, and nothing of
//! a mounted home gets in.

use cairn_testkit::needs;

use crate::testing::{MINI_PYTEST, copy_python};
use crate::workshop::Workshop;

/// DataHub's way: the packages that were asked for explicitly, names that are other modules, and
/// some that are no modules; the R packages of conda, as R sees them; a notebook that is run.
const COMMON: &str = r#"
import os

NAMES = {"scikit-learn": "sklearn"}
EXCLUDED = ["jupyterlab-git"]

def said(command):
    assert os.system(command + " > /tmp/said") == 0, command
    return open("/tmp/said").read().split()

def test_every_package_that_was_asked_for_is_there():
    asked = [it for it in said("conda list --explicit-names") if not it.startswith("r-")]
    wanted = [NAMES.get(it, it) for it in asked if it not in EXCLUDED]
    assert wanted
    missing = []
    for name in wanted:
        try:
            __import__(name)
        except ImportError:
            missing.append(name)
    assert not missing, f"cannot be imported: {missing}"

def test_r_sees_condas_packages():
    asked = {it[2:] for it in said("conda list --explicit-names") if it.startswith("r-")}
    seen = set(said("Rscript packages"))
    assert asked <= seen, f"R lacks {sorted(asked - seen)}"

def test_a_notebook_runs():
    assert said("jupyter nbconvert --execute /opt/note.ipynb") == ["executed"]
"#;

fn with_python(context: &str) -> Option<Workshop> {
    let workshop = Workshop::with_base()?;
    let python = copy_python(&workshop.path().join(context).join("python"));
    needs("python3 in /usr/bin", python).then_some(workshop)
}

/// DH-55, DH-61, DH-63: the common suite passes for every image that builds on another one, and says
/// of which image it is that something lacks.
#[test]
fn what_was_asked_for_can_be_imported_in_every_image() {
    let Some(workshop) = with_python("base-notebook") else {
        return;
    };
    workshop.write(
        "cairn.toml",
        "[stack]\nname = \"hub\"\n[defaults]\ntests.pytest = { path = \"tests_common\", python-path = \"extra\" }\n\
         [image.base-notebook]\ncontext = \"base-notebook\"\n[image.science]\ncontext = \"science\"\n",
    );
    workshop.write("extra/pytest.py", MINI_PYTEST);
    workshop.write("tests_common/test_packages.py", COMMON);
    let script = |name: &str, does: &str| {
        let path = format!("base-notebook/bin/{name}");
        workshop.write(&path, &format!("#!/bin/sh\n{does}\n"));
    };
    script("conda", "cat /opt/asked");
    script("Rscript", "ls /opt/r-library");
    script("jupyter", "test -f \"$3\" && echo executed");
    workshop.write("base-notebook/note.ipynb", "{}\n");
    workshop.write(
        "base-notebook/Dockerfile",
        "FROM base\nCOPY python /\nCOPY --chmod=755 bin /usr/bin/\nCOPY note.ipynb /opt/\n\
         RUN mkdir /opt/r-library && echo stat jupyterlab-git > /opt/asked\n",
    );
    let science = |modules: &str| {
        format!(
            "FROM base-notebook\nRUN mkdir -p /opt/modules {modules} && touch /opt/modules/sklearn.py && echo scikit-learn r-ggplot2 >> /opt/asked\n\
             ENV PYTHONPATH=/opt/modules\n"
        )
    };
    workshop.write("science/Dockerfile", &science("/opt/r-library/ggplot2"));
    let up = workshop.cairn(&["up", "--progress", "plain"]).success();
    for name in [
        "test_every_package_that_was_asked_for_is_there",
        "test_r_sees_condas_packages",
        "test_a_notebook_runs",
    ] {
        assert_eq!(up.err.matches(name).count(), 2, "{name}: {}", up.err);
    }
    let lacking = science("").replace("touch /opt/modules/sklearn.py", "true");
    workshop.write("science/Dockerfile", &lacking);
    workshop
        .cairn(&["up", "--progress", "plain"])
        .code(1)
        .err_has("cannot be imported: ['sklearn']")
        .err_has("R lacks ['ggplot2']");
}

/// MAN-39: a home that is mounted, as Apptainer does it, brings its Python packages and Jupyter's
/// settings into an image that does not keep them out.
#[test]
fn a_mounted_home_stays_out_of_the_environment() {
    let Some(workshop) = with_python("ml") else {
        return;
    };
    workshop.write(
        "cairn.toml",
        "[stack]\nname = \"lab\"\n[image.ml]\ncontext = \"ml\"\nvariant.open = {}\nvariant.kept = { target = \"kept\" }\n",
    );
    workshop.write(
        "ml/Dockerfile",
        "FROM base AS kept\nCOPY python /\n\
         ENV PYTHONNOUSERSITE=1 JUPYTER_CONFIG_DIR=/app/.jupyter JUPYTER_DATA_DIR=/app/share JUPYTER_RUNTIME_DIR=/app/run\n\
         FROM base\nCOPY python /\n",
    );
    let script = "import os, site, sys\n\
         user = site.getusersitepackages()\n\
         os.makedirs(user, exist_ok=True) if sys.argv[1:] else None\n\
         print(user in sys.path, os.environ.get('JUPYTER_CONFIG_DIR', os.path.expanduser('~/.jupyter')))\n";
    workshop.write("home/look.py", script);
    workshop.cairn(&["build"]).success();
    let home = workshop.path().join("home");
    let volume = format!("{}:/home/me", home.display());
    let look = |image: &str, make: &[&str]| {
        let command = [
            "run",
            "-v",
            &volume,
            "-e",
            "HOME=/home/me",
            image,
            "python3",
            "/home/me/look.py",
        ];
        workshop.cairn(&[&command, make].concat()).success().out
    };
    look("ml:open", &["make"]);
    assert_eq!(look("ml:open", &[]), "True /home/me/.jupyter\n");
    assert_eq!(look("ml:kept", &[]), "False /app/.jupyter\n");
}
