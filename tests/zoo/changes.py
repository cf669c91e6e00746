"""All changes of the zoo."""

from tests.zoo import (
    changes_addresses,
    changes_attributes,
    changes_classes,
    changes_elsewhere,
    changes_functions,
    changes_hidden,
    changes_hooks,
    changes_losses,
    changes_modules,
    changes_objects,
    changes_protocols,
    changes_silent,
    changes_surroundings,
    changes_tensors,
)

CHANGES = (
    *changes_attributes.CHANGES,
    *changes_objects.CHANGES,
    *changes_protocols.CHANGES,
    *changes_functions.CHANGES,
    *changes_elsewhere.CHANGES,
    *changes_addresses.CHANGES,
    *changes_hidden.CHANGES,
    *changes_classes.CHANGES,
    *changes_modules.CHANGES,
    *changes_tensors.CHANGES,
    *changes_hooks.CHANGES,
    *changes_surroundings.CHANGES,
    *changes_losses.CHANGES,
    *changes_silent.CHANGES,
)
