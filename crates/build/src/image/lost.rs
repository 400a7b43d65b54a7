//! Names of the store that lead to images whose files are gone: a snapshot was damaged and taken
//! away, or somebody removed it. What is built comes back with the next build; what was loaded or
//! pulled has to be brought again, and until then its name leads nowhere.

use cairn_oci::Descriptor;
use cairn_store::{Store, StoreError};

use super::named::{is_image, read_all};

/// The names that lead to an image of which a layer, or the image itself, is not there.
///
/// Others may change the store meanwhile: a name counts that means the same when it is looked at
/// once more.
///
/// # Errors
/// When the names cannot be listed.
pub fn lost_names(store: &Store) -> Result<Vec<String>, StoreError> {
    let mut lost = Vec::new();
    for (name, target) in store.list_refs()? {
        if is_image(&target)
            && !is_whole(store, &target)
            && store.get_ref(&name)?.as_ref() == Some(&target)
        {
            lost.push(name);
        }
    }
    Ok(lost)
}

fn is_whole(store: &Store, target: &Descriptor) -> bool {
    read_all(store, target).is_ok_and(|records| {
        let mut layers = records.iter().flat_map(|record| &record.layers);
        layers.all(|layer| store.snapshot_exists(&layer.snapshot))
    })
}
