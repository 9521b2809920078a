from vmtop.wording import nearest


def test_the_hint_names_the_nearest_word() -> None:
    assert nearest("usde", ["used", "name"]) == "Did you mean 'used'? There are: used, name"
    assert nearest("zzz", ["used"]) == "There are: used"
