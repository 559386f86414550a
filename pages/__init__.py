"""The dashboard's pages, one thin file each; `_ui` holds what they share."""
