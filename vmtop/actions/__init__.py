"""The only way to change anything: command -> guard -> audit "started" -> control -> audit outcome.

Reading order: `command` (what can be asked), `situation`, `verdict` and `guard` (whether it may be; pure),
`balloon_move` and `target` (what becomes of it; pure), `audit` (who did what), `runner` (does it). Texts here may hold
raw names of VMs, snapshots and disks, which are hostile: whoever shows them passes them through
`viewmodel.formats.safe_text`.
"""
