"""The screen: draws what `vmtop.viewmodel` says. The only folder that imports Textual."""
